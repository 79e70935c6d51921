"""``edgegen flash``: a firmware, or the C model of a build as a firmware, onto a real board."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.cache import Cache
from edgegen.core.errors import UsageError
from edgegen.core.models import C_LIBRARY, FORMATS
from edgegen.core.ports import Progress
from edgegen.core.targets import SYSTEM_OF_ISA, load_target
from edgegen.devices.mcu.compiler import ensure_compiler
from edgegen.devices.mcu.firmware import Preset, build_firmware
from edgegen.devices.mcu.flashing import Written, write_firmware
from edgegen.devices.mcu.interface import lay_out
from edgegen.devices.qemu_user.debs import Apt
from edgegen.devices.qemu_user.toolbox import Toolbox

_FIRMWARE = (".elf", ".bin", ".uf2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashed:
    """What was written to which board."""

    target: str
    firmware: str
    built: bool  # from a model, rather than given
    written: Written
    dry: bool

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema_version": 1,
            "target": self.target,
            "firmware": self.firmware,
            "built": self.built,
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
) -> Flashed:
    """Writes ``what`` to a board.

    Args:
        what: a firmware (ELF, ``.bin``, ``.uf2``), or an exported C model: its ``model.c``, ``c-library.zip``, the
            folder that holds them, or a build's folder.
        project: folder whose own profiles are known.
        dry: only say what would be done.

    Raises:
        UsageError: there is no firmware and no model; a port or drive is needed.
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
            written = write_firmware(profile, what, images, port=port, drive=drive, dry=dry)
            return Flashed(target=profile.name, firmware=str(what), built=False, written=written, dry=dry)
        model = _model(what)
        toolbox = Toolbox(cache.root, offline=offline, progress=progress)
        toolbox.root.mkdir(parents=True, exist_ok=True)
        with Apt(toolbox) as apt:
            compiler = ensure_compiler(toolbox, apt, SYSTEM_OF_ISA[profile.isa])
        progress.say(f"build the firmware for {profile.title}")
        firmware = build_firmware(profile, compiler, lay_out(model, sources), work, preset=preset, silicon=True)
        written = write_firmware(profile, firmware.elf, images, port=port, drive=drive, dry=dry)
    return Flashed(target=profile.name, firmware=str(model), built=True, written=written, dry=dry)


def _model(what: Path) -> Path:
    """The exported C model that ``what`` is or holds."""
    places = [what, what / "files"] if what.is_dir() else []
    found = [place / name for place in places for name in (FORMATS["c"], C_LIBRARY) if (place / name).is_file()]
    if what.is_file():
        found = [what]
    if not found:
        raise UsageError(
            "there is nothing to flash",
            where=str(what),
            expected=f"a firmware ({', '.join(_FIRMWARE)}), {FORMATS['c']}, {C_LIBRARY}, or a build's folder",
        )
    return found[0]
