"""What was built for one device fits another where that has all that the first has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.fitting import why_not
from edgegen.core.targets import load_target

FITS = [
    ("generic-aarch64", "raspberrypi5"),
    ("generic-aarch64", "raspberrypi4"),
    ("generic-aarch64", "raspberrypizero2"),
    ("generic-aarch64", "nvidia-jetson"),
    ("raspberrypi4", "raspberrypi5"),
    ("raspberrypi5", "rockchip-rk3588"),
    ("nrf52840-dk", "nrf52840-dk"),
    ("linux-x86_64", "linux-x86_64"),
    ("null", "null"),
]


@pytest.mark.parametrize(("made_for", "device"), FITS)
def test_bundle_fits_a_device_that_has_all(made_for: str, device: str) -> None:
    assert why_not(load_target(made_for), load_target(device), "onnx", "onnxruntime") is None


FITS_NOT = [
    ("raspberrypi5", "raspberrypi4", "no dotprod, fp16"),
    ("raspberrypi4", "raspberrypizero2", "proven with 1024 MiB"),
    ("rockchip-rk3588", "raspberrypi5", "proven with 4096 MiB"),
    ("raspberrypi4", "raspberrypi2", "for aarch64, the device is armv7l"),
    ("nucleo-l4r5zi", "nrf52840-dk", "firmware is for one board"),
    ("linux-x86_64", "nvidia-gpu", "does not say which core"),
    ("nvidia-jetson", "raspberrypi5", "no ampere-gpu"),
]


@pytest.mark.parametrize(("made_for", "device", "reason"), FITS_NOT)
def test_bundle_does_not_fit_a_device_that_lacks_something(made_for: str, device: str, reason: str) -> None:
    said = why_not(load_target(made_for), load_target(device), "onnx", "onnxruntime")
    assert said is not None
    assert reason in said


def test_runtime_and_storage_count_too() -> None:
    board, five = load_target("generic-aarch64"), load_target("raspberrypi5")
    assert why_not(board, load_target("nvidia-jetson"), "litert", "litert") == "the device has no litert for litert"
    small = replace(five, flash_bytes=1 << 20)
    assert why_not(replace(board, flash_bytes=1 << 21), small, "onnx", "onnxruntime") is not None
    assert why_not(board, small, "onnx", "onnxruntime") is None
