"""The C verifier for microcontrollers: published vectors, turned bits, agreement with others, emulated cores."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgegen_runtime import ed25519
from support.mcu_guest import MACHINES, run
from support.mcu_host import INCLUDE, SANITIZERS, WARNINGS
from support.mcu_tools import mcu_tools
from support.signature_vectors import ED25519

SOURCES = INCLUDE.parent / "src"
FILES = ("eg_sha256.c", "eg_sha512.c", "eg_ed25519_verify.c")
CORES = {
    "cortex-m4": ("mps2-an386", "-mcpu=cortex-m4", "-mthumb"),
    "cortex-m0": ("microbit", "-mcpu=cortex-m0", "-mthumb"),
    "rv32imac": ("riscv32-virt", "-march=rv32imac", "-mabi=ilp32", "-misa-spec=2.2"),
}
"""Core -> target whose compiler it is, flags."""
ORDER = 2**252 + 27742317777372353535851937790883648493

Case = tuple[bytes, bytes, bytes]  # key, message, signature

_MAIN = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eg_ed25519_verify.h"
#include "eg_sha256.h"
#include "eg_sha512.h"
/* Records on stdin: what (1 byte), first and message lengths (4 bytes each), then their bytes. */
int main(void)
{
    uint8_t head[9];
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        uint32_t lengths[2];
        memcpy(lengths, head + 1, sizeof lengths);
        uint8_t *first = malloc(lengths[0]), *message = malloc(lengths[1]); /* exact, for the sanitizer */
        if (fread(first, 1, lengths[0], stdin) != lengths[0] || fread(message, 1, lengths[1], stdin) != lengths[1])
            return 1;
        if (head[0] == 'v') {
            const uint8_t holds = eg_ed25519_verify(first, message, lengths[1], first + 32);
            fwrite(&holds, 1, 1, stdout);
        } else {
            const struct eg_bytes parts[3] = {{first, lengths[0]}, {NULL, 0}, {message, lengths[1]}};
            uint8_t digest[64];
            if (head[0] == '2')
                eg_sha256(parts, 3, digest);
            else
                eg_sha512(parts, 3, digest);
            fwrite(digest, 1, head[0] == '2' ? 32 : 64, stdout);
        }
        free(first);
        free(message);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier with the sanitizers on, reading records."""
    folder = tmp_path_factory.mktemp("verifier")
    (folder / "main.c").write_text(_MAIN)
    sources = [str(folder / "main.c"), *(str(SOURCES / name) for name in FILES)]
    command = ["gcc", *WARNINGS, *SANITIZERS, "-O1", f"-I{INCLUDE}", f"-I{SOURCES}", *sources, "-o", str(folder / "p")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return folder / "p"


def _ask(program: Path, records: Sequence[tuple[str, bytes, bytes]]) -> bytes:
    text = b"".join(what.encode() + struct.pack("<II", len(a), len(b)) + a + b for what, a, b in records)
    done = subprocess.run([str(program)], input=text, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    return done.stdout


def _holds(program: Path, cases: Sequence[Case]) -> list[bool]:
    answers = _ask(program, [("v", key + signature, message) for key, message, signature in cases])
    assert len(answers) == len(cases)
    return [bool(answer) for answer in answers]


def _vectors() -> list[Case]:
    return [(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(sig)) for key, message, sig in ED25519]


def _library(case: Case) -> bool:
    key, message, signature = case
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_digests_are_hashlibs_for_every_length(program: Path) -> None:
    dice = random.Random(1)
    pairs = [(dice.randbytes(length // 3), dice.randbytes(length - length // 3)) for length in range(300)]
    for what, size, scheme in (("2", 32, hashlib.sha256), ("5", 64, hashlib.sha512)):
        answers = _ask(program, [(what, first, second) for first, second in pairs])
        found = [answers[at : at + size] for at in range(0, len(answers), size)]
        assert found == [scheme(first + second).digest() for first, second in pairs]


def test_verify_holds_for_the_rfcs_vectors(program: Path) -> None:
    assert _holds(program, _vectors()) == [True] * 4
    assert _holds(program, [(key, message + b"\0", signature) for key, message, signature in _vectors()]) == [False] * 4


def test_verify_refuses_every_turned_bit(program: Path) -> None:
    whole = _vectors()[2]
    cases = []
    for part in range(3):
        for bit in range(8 * len(whole[part])):
            turned = bytearray(whole[part])
            turned[bit // 8] ^= 1 << bit % 8
            cases.append(tuple(bytes(turned) if at == part else whole[at] for at in range(3)))
    assert len(cases) == 256 + 16 + 512
    assert not any(_holds(program, cases))  # type: ignore[arg-type]


def test_verify_agrees_with_the_library_and_with_plain_python(program: Path) -> None:
    dice = random.Random(2)
    cases: list[Case] = []
    for number in range(400):
        private = Ed25519PrivateKey.from_private_bytes(dice.randbytes(32))
        message = dice.randbytes(dice.randrange(300))
        parts = [
            bytearray(private.public_key().public_bytes_raw()),
            bytearray(message),
            bytearray(private.sign(message)),
        ]
        if number % 2 and parts[number % 3]:
            part = parts[number % 3]
            part[dice.randrange(len(part))] ^= 1 << dice.randrange(8)
        cases.append((bytes(parts[0]), bytes(parts[1]), bytes(parts[2])))
    found = _holds(program, cases)
    assert found == [ed25519.verify(*case) for case in cases] == [_library(case) for case in cases]
    assert 200 <= sum(found) < 240


def test_verify_refuses_what_is_not_canonical(program: Path) -> None:
    key, message, signature = _vectors()[2]
    s = int.from_bytes(signature[32:], "little")
    other_forms = [signature[:32] + (s + ORDER * n).to_bytes(32, "little") for n in range(1, 8)]
    neutral = (1).to_bytes(32, "little")
    # The neutral point, as a number of its own and once more above p; and a number that is no point at all.
    keys = [(2**255 - 19 + 1).to_bytes(32, "little"), (2).to_bytes(32, "little"), b"\xff" * 32]
    cases = [(key, message, form) for form in other_forms]
    cases += [(bad, message, neutral + bytes(32)) for bad in keys]
    cases += [(key, message, bytes(64)), (key, message, b"\xff" * 64), (bytes(32), b"", bytes(64))]
    assert _holds(program, cases) == [ed25519.verify(*case) for case in cases]
    assert not any(_holds(program, cases[:-1]))


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("level", ["-O2", "-Os"])
def test_verifier_compiles_without_a_warning_and_keeps_no_state(core: str, level: str, tmp_path: Path) -> None:
    target, *flags = CORES[core]
    compiler = mcu_tools(target).compiler
    tool = partial(subprocess.run, capture_output=True, text=True, timeout=120, env=dict(compiler.env))
    for name in FILES:
        made = str(tmp_path / f"{name}.o")
        options = [*flags, *compiler.flags, *WARNINGS, level, f"-I{INCLUDE}"]
        done = tool([compiler.program, *options, "-c", str(SOURCES / name), "-o", made])
        assert done.returncode == 0, done.stderr[:4000]
        size = tool([compiler.program.removesuffix("gcc") + "size", made], check=True)
        text, data, bss = map(int, size.stdout.splitlines()[1].split()[:3])
        assert (data, bss) == (0, 0)
        assert text < 8192


def _array(name: str, data: bytes) -> str:
    return f"static const uint8_t {name}[] = {{{','.join(map(str, data)) or 0}}};\n"


@pytest.mark.parametrize("machine", ["m3", "m4", "rv32"])
def test_verifier_gives_the_same_on_emulated_cores(machine: str, tmp_path: Path) -> None:
    cases = _vectors()
    dice = random.Random(3)
    for key, message, signature in list(cases):
        turned = bytearray(signature)
        turned[dice.randrange(64)] ^= 1 << dice.randrange(8)
        cases.append((key, message, bytes(turned)))
    # One translation unit, as the emulation's support wants it: the verifier's sources differ in their names but one.
    sources = [(SOURCES / name).read_text() for name in ("eg_sha512.c", "eg_ed25519_verify.c")]
    text = "".join(sources)
    calls = []
    for number, (key, message, signature) in enumerate(cases):
        text += _array(f"k{number}", key) + _array(f"m{number}", message) + _array(f"s{number}", signature)
        calls.append(f"eg_note(eg_ed25519_verify(k{number}, m{number}, {len(message)}u, s{number}));")
    ticks = "eg_note(eg_ticks() - before);"
    text += (
        f"int main(void) {{ const uint32_t before = eg_ticks(); {calls[0]} {ticks} {' '.join(calls[1:])} return 0; }}\n"
    )
    raw = run(text, machine, tmp_path / "built", "size", [f"-I{SOURCES}"])
    first, spent, *others = struct.unpack(f"<{len(cases) + 1}I", raw)
    assert [bool(answer) for answer in (first, *others)] == [True] * 4 + [False] * 4
    if MACHINES[machine].tick_hz:  # SysTick under -icount shift=6: 64 ns an instruction
        assert 1_000_000 < spent * 1e9 / MACHINES[machine].tick_hz / 64 < 10_000_000
