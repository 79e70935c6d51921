"""Generators on disk: what is saved comes back, and a stranger's files are refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgegen.core.errors import ExitCode, UsageError
from edgegen.core.lazy import load
from edgegen.core.records import write_record
from edgegen.train.deployed import load_deployed, load_model, model_signature, save_deployed, save_model
from edgegen.train.families import FAMILIES, find_family, read_family
from edgegen.train.vae import VAE, VaeSettings
from support.datasets import image_form, token_form, vector_form

SMALL = VaeSettings(latent=4, side=28, image_channels=1, encoder_channels=(4, 8), decoder_channels=(8, 6, 4))


@pytest.fixture
def saved(tmp_path):
    """A folder with a small generator, and the generator."""
    torch.manual_seed(0)
    generator = VAE.deployed(VAE.build(SMALL)).eval()
    save_deployed(generator, "vae", SMALL, tmp_path)
    return tmp_path, generator


def test_a_generator_comes_back_with_the_same_bits(saved):
    folder, generator = saved
    found, family, settings = load_deployed(folder)
    latents = torch.from_numpy(VAE.draw(SMALL, 3, 1).inputs["latent"])
    assert torch.equal(found(latents), generator(latents))
    assert (family, settings) == ("vae", SMALL)
    assert not found.training
    again = folder / "again"
    again.mkdir()
    save_deployed(found, family, settings, again)
    assert (again / "deployed.safetensors").read_bytes() == (folder / "deployed.safetensors").read_bytes()


def test_a_generator_loads_from_paths_by_name(saved, tmp_path):
    folder, _ = saved
    paths = {}
    for index, name in enumerate(("deployed.json", "deployed.safetensors")):
        paths[name] = (folder / name).rename(tmp_path / f"blob{index}")
    assert load_deployed(paths)[2] == SMALL
    with pytest.raises(UsageError, match="missing"):
        load_deployed({"deployed.json": paths["deployed.json"]})


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_deployed(saved[0])
    assert torch.equal(torch.rand(3), expected)


def test_the_signature_is_what_the_generator_takes_and_gives(saved):
    _, generator = saved
    (latent,), (image,) = model_signature("vae", SMALL)
    assert (latent.name, image.name) == ("latent", "image")
    output = generator(torch.zeros(latent.shape))
    assert tuple(output.shape) == image.shape
    assert 0 <= output.min().item() <= output.max().item() <= 1


def test_pruned_settings_rebuild_a_smaller_generator(saved):
    pruned = VaeSettings(latent=4, side=28, image_channels=1, encoder_channels=(4, 8), decoder_channels=(5, 3, 2))
    smaller = VAE.deployed(VAE.build(pruned))
    assert [tuple(parameter.shape) for parameter in smaller.parameters()][2] == (3, 5, 3, 3)


def test_draw_is_seeded_normal_and_grows_at_the_end():
    few, many = (VAE.draw(SMALL, samples, 3).inputs["latent"] for samples in (10, 4000))
    assert few.dtype == np.float32
    assert np.array_equal(few, many[:10])
    assert not np.array_equal(few, VAE.draw(SMALL, 10, 4).inputs["latent"])
    assert abs(many.mean()) < 0.05
    assert abs(many.std() - 1) < 0.05


def test_names_settings_and_latents_need_no_torch():
    code = (
        "import sys\n"
        "from edgegen.train.families import read_family\n"
        "from edgegen.train.deployed import model_signature\n"
        "import edgegen.train.loop, edgegen.train.evaluate, edgegen.train.feature_net, edgegen.train.epochs\n"
        "family, settings = read_family('vae', {'side': 28, 'image_channels': 1}, 'x')\n"
        "model_signature('vae', settings), family.draw(settings, 2, 1)\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


FORMS = {
    "vae": image_form(),
    "gan": image_form(),
    "flow": vector_form(),
    "autoregressive": token_form(),
    "classifier": image_form(),
    "regressor": vector_form(classes=0, targets=2),
    "autoencoder": vector_form(),
}
"""Family -> data that it can be fitted to with default settings. 'module' has none: a person names what it builds."""


def test_every_family_has_a_form_here():
    assert set(FORMS) | {"module"} == set(FAMILIES)


@pytest.mark.parametrize("name", FORMS)
def test_every_family_of_the_table_is_whole(name):
    family = find_family(name)
    assert family is load(FAMILIES[name])
    settings = family.complete(family.settings(), FORMS[name])
    assert family.complete(settings, FORMS[name]) == settings
    assert read_family(name, json.loads(json.dumps(write_record(settings))), "x") == (family, settings)
    inputs, outputs = family.signature(settings)
    assert inputs
    assert outputs
    assert all(spec.shape[0] == 1 for spec in inputs + outputs)
    assert set(family.meaning(settings)) == {spec.name for spec in inputs}
    assert family.objectives(settings)


@pytest.mark.parametrize("name", FORMS)
def test_a_rebuild_reads_a_family_without_torch_and_numpy(name):
    code = (
        "import json, sys\n"
        "from edgegen.core.records import read_record\n"
        "from edgegen.data.dataset import Form\n"
        "from edgegen.train.families import read_family\n"
        "form = read_record(Form, json.loads(sys.argv[2]), '', 'form')\n"
        "family, settings = read_family(sys.argv[1], {}, 'x')\n"
        "settings = family.complete(settings, form)\n"
        "family.signature(settings), family.meaning(settings), family.objectives(settings)\n"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    form = json.dumps(write_record(FORMS[name]))
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code, name, form], check=False, env=environment).returncode == 0


@pytest.mark.parametrize(
    "table",
    [
        {"latnt": 16},
        {"latent": 0},
        {"latent": 2.5},
        {"side": 30},
        {"decoder_channels": [8, 8]},
        {"decoder_channels": [8, 8, 0]},
        {"decoder_channels": [8, 8, 100_000]},
        {"encoder_channels": "16"},
        {"kl_weight": float("nan")},
    ],
)
def test_read_family_refuses_bad_settings(table):
    with pytest.raises(UsageError):
        read_family("vae", table, "edgegen.toml")


def test_read_family_answers_an_unknown_name_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'vae'"):
        read_family("vea", {}, "edgegen.toml")


def _record(**changes):
    return json.dumps({"schema_version": 1, "family": "vae", "settings": write_record(SMALL)} | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 5000,
        " " * 70_000,
        _record(family="os"),
        _record(schema_version=2),
        _record(extra=1),
        _record(settings={"latent": 4, "module": "os"}),
        _record(settings={**write_record(SMALL), "decoder_channels": [8, 6, 5]}),
        _record(settings={**write_record(SMALL), "latent": 1024, "side": 128}),
    ],
)
def test_load_deployed_refuses_a_hostile_record(saved, text):
    (saved[0] / "deployed.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_deployed(saved[0])
    assert caught.value.exit_code == ExitCode.USAGE


def _states():
    state = VAE.deployed(VAE.build(SMALL)).state_dict()
    name = "conv1.weight"
    return {
        "one missing": {key: value for key, value in state.items() if key != name},
        "one too many": {**state, "extra": torch.zeros(1)},
        "other shape": {**state, name: torch.zeros(2, 2)},
        "other type": {**state, name: state[name].double()},
        "not finite": {**state, name: state[name] * float("nan")},
    }


@pytest.mark.parametrize("kind", list(_states()))
def test_load_deployed_refuses_weights_that_do_not_fit(saved, kind):
    save_file(_states()[kind], saved[0] / "deployed.safetensors")
    with pytest.raises(UsageError):
        load_deployed(saved[0])


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-10], lambda data: b"\xff" * 8 + data[8:]])
def test_load_deployed_refuses_damaged_weights(saved, damage):
    path = saved[0] / "deployed.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError):
        load_deployed(saved[0])


def test_a_whole_model_comes_back_with_the_same_bits(tmp_path):
    torch.manual_seed(1)
    model = VAE.build(SMALL).eval()
    save_model(model, "vae", SMALL, tmp_path)
    found, family, settings = load_model(tmp_path)
    assert (family, settings, found.training) == ("vae", SMALL, False)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())


def test_load_model_says_what_is_missing(saved):
    with pytest.raises(UsageError, match=r"model\.json"):
        load_model(saved[0])
