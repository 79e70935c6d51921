"""The device protocol: where an exported model is executed, and the table of kinds.

A device URL names the kind and, where there is one, the address: ``qemu:`` (the emulated core of the profile),
``host:`` (this machine), ``gpu:`` (a GPU of this machine), ``ssh://user@board`` (a board), ``board:NAME`` (one of the
inventory), ``labgrid:PLACE``, ``serial:///dev/ttyACM0``, ``rfc2217://`` and ``socket://host:port`` (a microcontroller),
``null:`` (a complete fake for tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from edgegen.core.errors import TargetError
from edgegen.core.lazy import load, nearest
from edgegen.core.ports import Progress, Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices.board_state import BoardWatch
from edgegen.devices.energy import Energy

Kind = Literal["counted", "measured"]

DEVICES = {
    "qemu": "edgegen.devices.emulated:open_device",
    "host": "edgegen.devices.host:open_device",
    "gpu": "edgegen.devices.gpu:open_device",
    "ssh": "edgegen.devices.ssh:open_device",
    "board": "edgegen.devices.inventory:open_device",
    "labgrid": "edgegen.devices.labgrid:open_device",
    "serial": "edgegen.devices.serial:open_serial",
    "rfc2217": "edgegen.devices.serial:open_rfc2217",
    "socket": "edgegen.devices.serial:open_socket",
    "null": "edgegen.devices.null:open_device",
}
"""URL scheme -> ``open_device(address, profile, settings) -> Device``."""

WARM_RUNS = 5
"""Counted latency is the minimum of at least this many warm inferences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """What a device needs besides its profile."""

    cache: Path  # edgegen's cache folder; tools are provisioned under it
    offline: bool
    progress: Progress
    processes: int | None = None  # of a wall-clock measurement; None: as many as the device's kind takes by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a device is, for labels and provenance."""

    kind: str  # the URL scheme
    core: str  # e.g. "cortex-a72"
    isa: str
    emulated: bool
    gives: frozenset[Kind]  # which kinds of latency its readings hold
    tools: Mapping[str, str]  # versions or digests of everything that can change a number
    notes: tuple[str, ...] = ()  # what a person must know of this device's figures before trusting them


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One operator's share of an inference."""

    name: str
    operator: str
    instructions: int
    by_class: Mapping[str, int] = field(default_factory=dict)  # those that are not 0; empty: not told apart
    bytes_loaded: int | None = None  # None: not counted
    bytes_stored: int | None = None
    macs: int | None = None  # multiply-accumulates, by the model file; None: it does not name this operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Exact cost of one warm inference under emulation: the run with the fewest of >= 5 (``WARM_RUNS``)."""

    instructions: int
    instructions_median: int
    by_class: Mapping[str, int]  # keys: INSTRUCTION_CLASSES, they sum to ``instructions``; empty: not told apart
    bytes_loaded: int | None  # None: not counted
    bytes_stored: int | None
    runs: int
    per_operator: tuple[OperatorCost, ...] | None  # None: not counted
    unexplained_ratio: float | None  # share of ``instructions`` that no operator accounts for


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """Wall-clock milliseconds per warm inference on a real device.

    The unit of replication is the process: two inferences of one process share its luck with memory and scheduling.
    """

    first_ms: float  # the first inference of a process: the median over the processes
    processes_ms: tuple[tuple[float, ...], ...]  # warm inferences of each process, in order
    cold_start_ms: float | None = None  # from the start of a process to its first result: the median
    stream_per_s: float | None = None  # inferences one after the other with all that stands between them: the median


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one measurement gave; None where the device does not give it."""

    counted: Counted | None
    clocked: Clocked | None
    peak_ram_bytes: int | None  # of the whole inference process or firmware: model, runtime, arena and stack
    peak_ram_growth_bytes: int | None = None  # what loading and running the model added to it, where the device sees it
    board: BoardWatch | None = None  # the state of the board meanwhile
    energy: Energy | None = None  # with a meter alone
    # Of a microcontroller.
    arena_bytes: int | None = None  # the model's working memory
    flash_bytes: int | None = None  # of the whole firmware
    model_flash_bytes: int | None = None  # what of it the model and its kernels add
    stack_bytes: int | None = None  # high water, by painting


class Device(Protocol):
    """Executes exported models. One model at a time; not for sharing between threads unless it says so."""

    def identity(self) -> Identity:
        """What the device is. May provision or connect.

        Raises:
            ToolMissingError: it is not there.
        """

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """Outputs by name for samples along the first axis, each sample inferred alone.

        Raises:
            BuildError: the runtime refuses or crashes on the model.
            ToolMissingError: the device failed or timed out.
        """

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """Cost of one inference on the first sample of ``inputs``. Raises as ``run`` does."""

    def close(self) -> None:
        """Gives back whatever the device holds. Safe to call twice."""


@runtime_checkable
class Speaks(Protocol):
    """What a device does besides that keeps a model of sequences' memory itself."""

    def speak(
        self, model: Path, runtime: str, prompt: Sequence[int], count: int, *, seed: int, temperature: float
    ) -> Iterator[int]:
        """Tokens that the model writes behind a prompt, each as soon as it comes; equal seeds give equal texts.

        Raises:
            UsageError: the model is none of sequences, or a number is out of range.
            ToolMissingError: the device does not answer.
        """


@runtime_checkable
class Paces(Protocol):
    """What counts the instructions of texts."""

    def pace(self, model: Path, runtime: str, context: int | None) -> tuple[int, int] | None:
        """Instructions of a token of a prompt, and of a token that is written behind it; None where the model is none
        of sequences that the device could feed.

        Args:
            context: tokens that the model looks back on, which the prompt then has; None: it forgets none at once.
        """


@runtime_checkable
class Weighs(Protocol):
    """What a device does besides that pays for every operator's share apart."""

    def weigh(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """``Device.measure`` without operators."""


def split_url(url: str) -> tuple[str, str]:
    """Kind and address of a device URL.

    Raises:
        TargetError: a malformed URL or an unknown kind.
    """
    scheme, colon, address = url.partition(":")
    if not colon or scheme not in DEVICES:
        raise TargetError(
            f"unknown device {url!r}",
            expected=f"a URL that starts with {' or '.join(f'{name}:' for name in DEVICES)}{nearest(scheme, DEVICES)}",
        )
    return scheme, address


def open_device(url: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """The device that ``url`` names.

    Raises:
        TargetError: a malformed URL, an unknown kind, or a kind that the profile is not for.
    """
    scheme, address = split_url(url)
    device: Device = load(DEVICES[scheme])(address, profile, settings)
    return device
