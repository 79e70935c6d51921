"""torch to ExecuTorch: names, values, bytes, what fell to its own kernels, and what of a damaged file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import TensorSpec
from edgegen.export.census import census
from edgegen.export.executorch_file import read_executorch, refuse_random_operators
from edgegen.export.finish import finish_export
from edgegen.export.formats import convert
from edgegen.export.host_runtime import run_on_host
from edgegen.export.signature import read_signature
from support.texts import CONTEXT, greedy, on_runner, settings, torch_reading, write_forms

pytest.importorskip("executorch.exir", reason="pip install 'edgegen[executorch]'")

TRANSFORMER = settings("transformer", layers=1)

CONVERT = """
import sys
from pathlib import Path
from edgegen.export.formats import convert
convert(Path(sys.argv[1]), Path(sys.argv[2]), form="torch", to="pte")
"""


@pytest.fixture(scope="module")
def told(generator: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The generator's file, and what the conversion tells of it."""
    folder = tmp_path_factory.mktemp("pte")
    said = convert(generator, folder, form="torch", to="pte")
    assert said is not None
    return folder / "model.pte", dict(said)


@pytest.fixture(scope="module")
def saved(told: tuple[Path, dict]) -> Path:
    return told[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a transformer as ``write_forms`` leaves it."""
    folder = tmp_path_factory.mktemp("texts") / "transformer"
    write_forms(folder, TRANSFORMER, ("pte",))
    return folder


def test_executorch_gives_what_torch_gives(generator: Path, saved: Path, latents: dict[str, np.ndarray]) -> None:
    import torch

    from edgegen.train.deployed import load_deployed

    assert read_signature(saved, "pte") == (
        (TensorSpec(name="latent", dtype="float32", shape=(1, 8)),),
        (TensorSpec(name="image", dtype="float32", shape=(1, 1, 16, 16)),),
    )
    module, _, _ = load_deployed(generator)
    with torch.no_grad():
        wanted = module(torch.from_numpy(latents["latent"])).numpy()
    np.testing.assert_allclose(run_on_host(saved, "pte", latents)["image"], wanted, atol=1e-5)


def test_census_of_an_executorch_file_counts_the_work_of_the_model(generator: Path, saved: Path) -> None:
    from edgegen.compress.census import census as census_of

    torch_form, found = census_of(generator, "torch"), census(saved, "pte")
    assert found.macs == torch_form.macs > 0
    assert found.bytes == saved.stat().st_size
    # Normalizations are folded into the convolutions before them.
    assert 0.9 * torch_form.parameters < found.parameters <= torch_form.parameters
    assert found.operators["XNNConv2d"] >= 3


def test_conversion_tells_whose_kernels_compute_what(told: tuple[Path, dict]) -> None:
    path, said = told
    program, figures = read_executorch(path), said["figures"]
    assert said["changed"][0].startswith(f"XNNPACK computes {program.delegated.total()} of ")
    assert figures["xnnpack"] == dict(program.delegated)
    assert figures["fallback"] == dict(program.portable)
    assert bool(figures["fallback"]) == (len(said["changed"]) == 2)
    assert 0 <= figures["apart_from_torch"] < 1e-5


def test_another_process_in_another_folder_gives_the_same_program(generator: Path, saved: Path, tmp_path: Path) -> None:
    there = tmp_path / "some where" / "else"
    there.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(generator), str(there)],
        cwd=there,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert sha256_file(there / "model.pte") == sha256_file(saved)


def test_likeliest_text_is_the_same_in_torch_and_executorch(written: Path) -> None:
    wanted = greedy(torch_reading(TRANSFORMER, blocks=True), 2 * CONTEXT)
    assert greedy(on_runner(TRANSFORMER, written, "pte", run_on_host), 2 * CONTEXT) == wanted


def test_work_of_a_model_that_reads_blocks_is_that_of_its_torch_form(written: Path) -> None:
    from edgegen.compress.census import census as census_of

    for place in ("step", "block"):
        assert census(written / place / "model.pte", "pte").macs == census_of(written / place, "torch").macs > 0


def test_operators_that_xnnpack_has_not_are_counted_by_name(written: Path) -> None:
    path = written / "step" / "model.pte"
    program = read_executorch(path)
    assert program.portable["aten::embedding.out"] == 2
    assert program.portable["aten::native_layer_norm.out"] > 1
    assert program.other_parts == ()
    assert program.delegated["XNNFullyConnected"] > 1
    assert Counter(census(path, "pte").operators) == program.delegated + program.portable


def test_finished_executorch_file_has_golden_vectors(
    saved: Path, latents: dict[str, np.ndarray], tmp_path: Path
) -> None:
    export = finish_export(saved, "pte", latents, tmp_path)
    assert (tmp_path / "model.pte").read_bytes() == saved.read_bytes()
    assert export.golden.runtime.startswith("executorch ")


def test_operator_without_a_kernel_is_refused_by_name() -> None:
    import torch

    from edgegen.export.executorch import lowered

    class Spectrum(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x)

    program = torch.export.export(Spectrum().eval(), (torch.ones(1, 4, 4),))
    with pytest.raises(BuildError, match="svd"):
        lowered(program, ["x"], ["y"], what="the generator", where="here")


@pytest.mark.parametrize("divisor", [3, -3])
def test_remainders_have_the_sign_of_the_divisor_as_in_torch(tmp_path: Path, divisor: int) -> None:
    import torch

    from edgegen.export.executorch import lowered

    class Remainder(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x % divisor

    given = torch.tensor([[-7, -3, -1, 0, 1, 2, 3, 2**31 - 1]], dtype=torch.int32)
    path = tmp_path / "model.pte"
    program = torch.export.export(Remainder().eval(), (given,))
    path.write_bytes(lowered(program, ["x"], ["y"], what="the generator", where="here"))
    found = run_on_host(path, "pte", {"x": given.numpy()})["y"]
    assert found.tolist() == (given % divisor).tolist()


def test_file_that_computes_another_thing_than_torch_is_refused(generator: Path, saved: Path) -> None:
    import torch

    from edgegen.export.executorch import held_against
    from edgegen.train.deployed import load_deployed

    module, _, _ = load_deployed(generator)
    with torch.no_grad():
        next(module.parameters()).mul_(1.5)
    with pytest.raises(BuildError, match="another 'image' than torch"):
        held_against(module, saved)


def test_program_that_draws_is_refused(tmp_path: Path) -> None:
    import torch

    from edgegen.export.executorch import lowered

    class Drawing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(1, 4)

    program = torch.export.export(Drawing().eval(), (torch.ones(1, 4),))
    path = tmp_path / "model.pte"
    path.write_bytes(lowered(program, ["x"], ["y"], what="the generator", where="here"))
    with pytest.raises(BuildError, match="random"):
        refuse_random_operators(read_executorch(path), str(path))


@pytest.mark.parametrize("cut", [1, 4, 7, 40, 500, 3000])
def test_truncated_executorch_file_is_refused(saved: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(UsageError):
        read_executorch(path)


def test_damaged_executorch_file_gives_a_program_or_an_error_of_ours(saved: Path, tmp_path: Path) -> None:
    data, path, refused = saved.read_bytes(), tmp_path / "model.pte", 0
    draw = np.random.default_rng(6)
    for _ in range(200):
        broken = bytearray(data)
        for place in draw.integers(8, len(broken), 60):
            broken[place] = int(draw.integers(0, 256))
        path.write_bytes(broken)
        try:
            read_executorch(path)
        except (UsageError, BuildError):
            refused += 1
    assert 0 < refused <= 200
