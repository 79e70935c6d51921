"""Whether what was built and proven for one device fits another."""

from __future__ import annotations

from edgegen.core.profile import SYSTEM_OF_ISA, TargetProfile


def why_not(made_for: TargetProfile, device: TargetProfile, model_format: str, runtime: str) -> str | None:
    """Why a bundle does not fit a device; None where it does.

    It fits where the device has all that the bundle's target has: the instruction set, what of it kernels make use of,
    at least the memory and the built-in storage, and the runtime for the format. So what was built for generic-aarch64
    fits a Raspberry Pi 5, and not the other way round. Counts and times that were proven are those of the target that
    it was built for.

    Args:
        made_for: the target that the bundle was built for.
        model_format: the bundle's, as its runtime.
    """
    if made_for.name == device.name:
        return None
    if device.isa != made_for.isa:
        return f"for {made_for.isa}, the device is {device.isa}"
    if device.isa in SYSTEM_OF_ISA or device.isa == "null":
        return "firmware is for one board"
    if made_for.core is None or device.core is None:
        return "a profile does not say which core it is for"
    missing = sorted(set(made_for.core.features) - set(device.core.features))
    if missing:
        return f"the device's core has no {', '.join(missing)}"
    if device.memory_bytes < made_for.memory_bytes:
        return f"proven with {made_for.memory_bytes >> 20} MiB of memory, the device has {device.memory_bytes >> 20}"
    if device.flash_bytes is not None and device.flash_bytes < (made_for.flash_bytes or 0):
        return "the device has less built-in storage"
    if device.runtimes.get(model_format) != runtime:
        return f"the device has no {runtime} for {model_format}"
    return None
