"""A firmware that proves its model before it answers: a signed image in flash, and golden vectors run at boot.

The image is the model's code and constants and its golden vectors, which the linker puts into one section. What lies
outside it (the firmware's own code, the C library) is the boot loader's to check.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError, UsageError
from edgegen.devices.mcu.elf import section_of
from edgegen.devices.mcu.interface import SELF_TEST

SIGNATURE_BYTES, KEY_BYTES = 64, 32

PORT = ("guard",)
"""Sources of ``runtimes/mcu/port`` that it needs beside a plain firmware's."""
VERIFIER = ("ed25519_verify", "self_test", "sha256", "sha512")
"""Sources of ``runtimes/mcu/src``."""
IMAGE = ("model", "golden")
"""Objects that are the image."""
STACK_BYTES = 4096
"""What the check insists on: 1.4 KiB of points and numbers, a digest, and room below them."""

_IMAGE_SECTION, _SIGNATURE_SECTION = ".eg_image", ".eg_signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Whose model a firmware takes, and what it is tested with."""

    key: bytes  # the Ed25519 public key's 32 bytes
    sign: Callable[[bytes], bytes]  # the 64 bytes of a message's signature
    golden: Path  # golden.h of the model


def linked() -> str:
    """The linker script's sections of image and signature, in front of everything but the vectors."""
    parts = " ".join(
        f"*/{name}.o(.text .text.* .rodata .rodata.* .srodata .srodata.*)" for name in IMAGE
    )  # nothing of theirs is writable
    image = f"eg_image_begin = .; {parts} . = ALIGN(16); eg_image_end = .;"
    return (
        "  .vectors : { KEEP(*(.vectors)) } > FLASH\n"
        f"  {_IMAGE_SECTION} : ALIGN(16) {{ {image} }} > FLASH\n"  # what is signed is the section, from its first byte
        f"  {_SIGNATURE_SECTION} : {{ KEEP(*({_SIGNATURE_SECTION})) . = ALIGN(8); }} > FLASH\n"
    )


def golden_text(name: str) -> str:
    """Text of the object that brings the golden vectors into the image."""
    return f"""#include "eg_guard.h"

#include "{SELF_TEST}"

const struct eg_golden *const eg_guard_golden = &eg_{name}_golden;
"""


def key_text(key: bytes) -> str:
    """Text of the object that holds whose signature it must be, and room for the signature."""
    numbers = ", ".join(f"0x{byte:02x}" for byte in key)
    return f"""#include "eg_guard.h"

const uint8_t eg_guard_key[{KEY_BYTES}] = {{{numbers}}};
__attribute__((section("{_SIGNATURE_SECTION}"))) const uint8_t eg_guard_signature[{SIGNATURE_BYTES}] = {{0}};
"""


def arena_text() -> str:
    """What a guarded firmware's glue has beside a plain one's."""
    return '\n#include "eg_guard.h"\n\nvoid *eg_guard_arena(void)\n{\n    return arena;\n}\n'


def seal(elf: Path, guard: Guard) -> None:
    """Signs the image of a linked firmware, in its place.

    Raises:
        BuildError: the linker made no image of a model.
        UsageError: the key gives no Ed25519 signature.
    """
    data = bytearray(elf.read_bytes())
    try:
        image, room = section_of(data, _IMAGE_SECTION), section_of(data, _SIGNATURE_SECTION)
    except struct.error as error:
        raise BuildError("the linker made no whole ELF file", where=elf.name, got=error) from error
    if image is None or room is None or not image.length or room.length < SIGNATURE_BYTES:
        raise BuildError(
            "the linked firmware has no image of the model",
            where=elf.name,
            expected=f"the sections {_IMAGE_SECTION} and {_SIGNATURE_SECTION}",
            next_step="a link.ld.in of your own needs ${guarded} in front of .text",
        )
    signature = guard.sign(bytes(data[image.offset : image.offset + image.length]))
    if len(signature) != SIGNATURE_BYTES or len(guard.key) != KEY_BYTES:
        raise UsageError("the key is none of Ed25519", expected="an Ed25519 key: the firmware checks no other")
    data[room.offset : room.offset + SIGNATURE_BYTES] = signature
    elf.write_bytes(data)
