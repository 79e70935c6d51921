"""``edgegen flash``: a firmware, or the C model of a build as a firmware, onto a real board."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.cache import Cache
from edgegen.core.errors import UsageError
from edgegen.core.models import C_LIBRARY, FORMATS
from edgegen.core.ports import Progress
from edgegen.core.targets import SYSTEM_OF_ISA, load_target
from edgegen.devices.mcu.compiler import ensure_compiler
from edgegen.devices.mcu.firmware import Preset, build_firmware
from edgegen.devices.mcu.flashing import Written, write_firmware
from edgegen.devices.mcu.guard import Guard
from edgegen.devices.mcu.interface import SELF_TEST, lay_out
from edgegen.devices.qemu_user.debs import Apt
from edgegen.devices.qemu_user.toolbox import Toolbox
from edgegen_runtime.public_keys import ED25519

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing

_FIRMWARE = (".elf", ".bin", ".uf2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashed:
    """What was written to which board."""

    target: str
    firmware: str
    built: bool  # from a model, rather than given
    key_id: str = ""  # whose signature the firmware asks for at boot; empty: nobody's
    written: Written
    dry: bool

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema_version": 1,
            "target": self.target,
            "firmware": self.firmware,
            "built": self.built,
            "boot_key_id": self.key_id or None,
            "tool": self.written.tool,
            "commands": [list(command) for command in self.written.commands],
            "copied_to": self.written.copied_to or None,
            "size_bytes": self.written.size_bytes,
            "dry_run": self.dry,
        }


def flash(
    what: Path,
    target: str,
    *,
    project: Path | None,
    cache: Cache,
    progress: Progress,
    port: str = "",
    drive: Path | None = None,
    preset: Preset = "speed",
    offline: bool = False,
    dry: bool = False,
    signer: Signing | None = None,
) -> Flashed:
    """Writes ``what`` to a board.

    Args:
        what: a firmware (ELF, ``.bin``, ``.uf2``), or an exported C model: its ``model.c``, ``c-library.zip``, the
            folder that holds them, or a build's folder.
        project: folder whose own profiles are known.
        dry: only say what would be done.
        signer: an Ed25519 key; the firmware that is built checks its signature of the model, and runs the model's
            golden vectors, before it answers.

    Raises:
        UsageError: there is no firmware and no model; a port or drive is needed; a key of another kind, or nothing
            that it could vouch for.
        TargetError: the profile does not say how its board is flashed, or how its chip is started.
        BudgetError: the model does not fit the board.
        ToolMissingError: the tool or the compiler is not there, or fails.
    """
    profile = load_target(target, project)
    if profile.mcu is None:
        raise UsageError("only microcontrollers are flashed", where=profile.name, got=profile.title)
    with tempfile.TemporaryDirectory(prefix="edgegen-flash-") as name:
        folder = Path(name)
        images, sources, work = (folder / part for part in ("images", "sources", "work"))
        for part in (images, sources, work):
            part.mkdir()
        if what.is_file() and what.suffix in _FIRMWARE:
            if signer is not None:
                raise UsageError(
                    "a firmware that is given is flashed as it is", where=str(what), next_step="no --boot-key"
                )
            written = write_firmware(profile, what, images, port=port, drive=drive, dry=dry)
            return Flashed(target=profile.name, firmware=str(what), built=False, written=written, dry=dry)
        model = _model(what, (FORMATS["c"], C_LIBRARY) if signer is None else (C_LIBRARY,))
        laid = lay_out(model, sources)
        guard = None if signer is None else _guard(signer, laid, model)
        toolbox = Toolbox(cache.root, offline=offline, progress=progress)
        toolbox.root.mkdir(parents=True, exist_ok=True)
        with Apt(toolbox) as apt:
            compiler = ensure_compiler(toolbox, apt, SYSTEM_OF_ISA[profile.isa])
        progress.say(f"build the firmware for {profile.title}")
        firmware = build_firmware(profile, compiler, laid, work, preset=preset, silicon=True, guard=guard)
        written = write_firmware(profile, firmware.elf, images, port=port, drive=drive, dry=dry)
    key_id = "" if signer is None else signer.public.key_id
    return Flashed(target=profile.name, firmware=str(model), built=True, written=written, dry=dry, key_id=key_id)


def _guard(signer: Signing, sources: Path, model: Path) -> Guard:
    if signer.public.kind != ED25519:
        raise UsageError(
            "the firmware checks Ed25519 signatures alone",
            where="--boot-key",
            got=signer.public.kind,
            next_step="edgegen keys new NAME --type ed25519",
        )
    if not (sources / SELF_TEST).is_file():
        raise UsageError(
            "the model's library has no golden vectors for a self-test",
            where=str(model),
            expected=f"{SELF_TEST} in it: a bundle's {C_LIBRARY}, whose golden vectors are not too large",
            next_step="build again, or flash without --boot-key",
        )
    return Guard(key=signer.public.raw, sign=signer.sign, golden=sources / SELF_TEST)


def _model(what: Path, wanted: tuple[str, ...]) -> Path:
    """The exported C model that ``what`` is or holds, as the first of the files that is there."""
    places = [what, what / "files"] if what.is_dir() else []
    found = [place / name for place in places for name in wanted if (place / name).is_file()]
    if what.is_file():
        found = [what]
    if not found:
        raise UsageError(
            "there is nothing to flash",
            where=str(what),
            expected=f"a firmware ({', '.join(_FIRMWARE)}), {' or '.join(wanted)}, or a build's folder",
        )
    return found[0]
