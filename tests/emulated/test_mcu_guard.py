"""Firmware that proves its model at boot, on emulated cores: what is whole answers, what was changed refuses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from emulated_presence import TOOLS_CACHE, absent

from edgegen.artifacts.keys import Signer, public_pem
from edgegen.artifacts.wrap.c_sources import constants_of
from edgegen.core.cache import Cache
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.ports import Silent
from edgegen.core.targets import SYSTEM_OF_ISA, load_target
from edgegen.devices.mcu.elf import section_of
from edgegen.devices.mcu.firmware import build_firmware
from edgegen.devices.mcu.guard import Guard
from edgegen.devices.mcu.images import plain_image
from edgegen.devices.qemu_system import provision
from edgegen.devices.qemu_system.machine import Machine
from edgegen.devices.run_folder import run_folder
from edgegen.export.c.emit import emit
from edgegen.export.c.golden_header import golden_header
from edgegen.export.c.layouts import library
from edgegen.pipeline.flash import Flashed, flash
from edgegen_runtime.public_keys import parse_public_key
from support.mcu_golden import golden_arrays, small_graph, write_tested_model

CORES = {"mps2-an385": "c", "mps2-an386": "dsp", "mps3-an547": "mve", "riscv32-virt": "c"}
OURS, OTHERS = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
WHOLE = "it answers"


class Built:
    """A guarded firmware of one core, and what a changed one says at boot."""

    def __init__(self, target: str, folder: Path) -> None:
        profile = load_target(target)
        assert profile.mcu is not None
        self.profile, self.mcu = profile, profile.mcu
        try:
            self.tools = provision(
                SYSTEM_OF_ISA[profile.isa], profile.mcu, TOOLS_CACHE, offline=False, progress=Silent()
            )
        except ToolMissingError as error:
            absent(str(error))
        self.folder, self.sources = folder, folder / "sources"
        self.header = write_tested_model(self.sources, CORES[target])  # type: ignore[arg-type]
        self.elf = self.build("whole")

    def build(self, name: str, golden: str | None = None) -> Path:
        """The firmware, signed by OURS; with other golden vectors where they are given."""
        work, path = self.folder / name, self.folder / f"{name}.h"
        work.mkdir()
        path.write_text(self.header.text if golden is None else golden)
        guard = Guard(key=OURS.public_key().public_bytes_raw(), sign=OURS.sign, golden=path)
        firmware = build_firmware(self.profile, self.tools.compiler, self.sources, work, guard=guard)
        self.flash_bytes = firmware.flash_bytes
        return firmware.elf

    def says(self, elf: Path) -> str:
        """What the firmware says at boot: WHOLE, or the reason of its refusal."""
        with run_folder() as folder:
            try:
                machine = Machine(self.tools.qemu, self.mcu, elf, folder, timeout_s=60.0)
            except IntegrityError as error:
                return str(error.got)
            machine.client.facts()
            machine.close()
            return WHOLE

    def changed(self, change: Callable[[bytearray], None]) -> Path:
        """A copy of the whole firmware with other bytes."""
        path = self.folder / "changed.elf"
        shutil.copyfile(self.elf, path)
        data = bytearray(path.read_bytes())
        change(data)
        assert bytes(data) != self.elf.read_bytes()
        path.write_bytes(data)
        return path


def flipped(data: bytearray, place: int) -> None:
    data[place] ^= 1


@pytest.fixture(scope="module", params=CORES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(request.param, tmp_path_factory.mktemp("guarded"))


def test_guarded_firmware_answers_when_whole_and_refuses_what_was_changed(built: Built) -> None:
    data = built.elf.read_bytes()
    image, room = section_of(data, ".eg_image"), section_of(data, ".eg_signature")
    assert image is not None
    assert room is not None
    weights = small_graph().tensors["w"].data
    assert weights is not None
    # Four neighbours lie side by side in every packing.
    constants = data.index(weights[3, 4:8].tobytes(), image.offset, image.offset + image.length)
    key = data.index(OURS.public_key().public_bytes_raw())
    vectors = bytes(map(int, re.findall(r"\d+", built.header.text.split("_inputs[", 1)[1].split("{")[1].split("}")[0])))
    assert len(vectors) == 5 * 24
    golden = data.index(vectors, image.offset, image.offset + image.length)
    # What `edgegen wrap --as mcuboot` tells a firmware with the model by: every constant array stands in it as it is.
    arrays = constants_of((built.sources / "model.c").read_text())
    assert arrays
    assert all(array in plain_image(data)[1] for array in arrays.values())
    assert built.says(built.elf) == WHOLE
    for place in (constants, golden, room.offset, room.offset + 63, image.offset):
        assert built.says(built.changed(lambda data, at=place: flipped(data, at))) == "its signature does not hold"
    other = OTHERS.sign(data[image.offset : image.offset + image.length])

    def signed_by_another(data: bytearray) -> None:
        data[room.offset : room.offset + 64] = other

    assert built.says(built.changed(signed_by_another)) == "its signature does not hold"

    def key_of_another(data: bytearray) -> None:
        data[key : key + 32] = OTHERS.public_key().public_bytes_raw()

    assert built.says(built.changed(key_of_another)) == "its signature does not hold"


def test_guarded_firmware_refuses_a_golden_vector_that_differs_though_signed(built: Built) -> None:
    head, tail = built.header.text.split("_outputs[60] = {\n", 1)
    numbers = tail.split("}", 1)[0].split(",")
    numbers[3 * 12 + 4] = f" {(int(numbers[3 * 12 + 4]) + 1) % 256}"
    text = f"{head}_outputs[60] = {{\n{','.join(numbers)}}}{tail.split('}', 1)[1]}"
    assert built.says(built.build("other-vectors", text)) == "golden vector 3 gives other bytes"


def _library(folder: Path, *, tested: bool) -> Path:
    """A build's folder with the library of a small model."""
    graph = small_graph()
    emitted = emit(graph, "dsp")
    header = golden_header(emitted.interface, golden_arrays(graph, emitted)) if tested else None
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "c-library.zip").write_bytes(library(emitted, header))
    return folder


def _flash(what: Path, signer: Signer) -> Flashed:
    cache = Cache(TOOLS_CACHE)
    return flash(what, "nucleo-l4r5zi", project=None, cache=cache, progress=Silent(), dry=True, signer=signer)


def test_flash_builds_a_guarded_firmware_for_the_board(tmp_path: Path) -> None:
    signer = Signer(private=OURS, public=parse_public_key(public_pem(OURS), "ours"))
    try:
        guarded = _flash(_library(tmp_path / "tested", tested=True), signer)
    except ToolMissingError as error:
        absent(str(error))
    assert guarded.document()["boot_key_id"] == signer.public.key_id
    plain = flash(
        tmp_path / "tested", "nucleo-l4r5zi", project=None, cache=Cache(TOOLS_CACHE), progress=Silent(), dry=True
    )
    assert plain.document()["boot_key_id"] is None
    # The check of a signature, the self-test and five vectors.
    assert 4000 < guarded.written.size_bytes - plain.written.size_bytes < 12_000
    with pytest.raises(UsageError, match="no golden vectors for a self-test"):
        _flash(_library(tmp_path / "plain", tested=False), signer)
    elf = tmp_path / "given.elf"
    elf.write_bytes(b"\x7fELF")
    with pytest.raises(UsageError, match="flashed as it is"):
        _flash(elf, signer)
    private = ec.derive_private_key(7, ec.SECP256R1())
    with pytest.raises(UsageError, match="Ed25519 signatures alone"):
        _flash(tmp_path / "tested", Signer(private=private, public=parse_public_key(public_pem(private), "p256")))
