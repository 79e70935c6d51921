"""The plugin's sorting of instructions, compiled for this machine, and its record of a guest's memory."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgegen.core.share import share_dir
from edgegen.core.targets import INSTRUCTION_CLASSES

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on PATH")

# (class, instruction word, assembly): words as GNU as 2.40 encodes the assembly.
ENCODINGS = [
    ("fma", 0x4E22CC20, "fmla v0.4s, v1.4s, v2.4s"),
    ("fma", 0x4E62CC20, "fmla v0.2d, v1.2d, v2.2d"),
    ("fma", 0x4EA2CC20, "fmls v0.4s, v1.4s, v2.4s"),
    ("fma", 0x4E420C20, "fmla v0.8h, v1.8h, v2.8h"),
    ("fma", 0x0EC20C20, "fmls v0.4h, v1.4h, v2.4h"),
    ("fma", 0x4FA21820, "fmla v0.4s, v1.4s, v2.s[3]"),
    ("fma", 0x4FC25820, "fmls v0.2d, v1.2d, v2.d[1]"),
    ("fma", 0x4F321820, "fmla v0.8h, v1.8h, v2.h[7]"),
    ("fma", 0x5FA21020, "fmla s0, s1, v2.s[1]"),
    ("fma", 0x5F121020, "fmla h0, h1, v2.h[1]"),
    ("fma", 0x1F020C20, "fmadd s0, s1, s2, s3"),
    ("fma", 0x1F428C20, "fmsub d0, d1, d2, d3"),
    ("fma", 0x1F220C20, "fnmadd s0, s1, s2, s3"),
    ("fma", 0x4E22EC20, "fmlal v0.4s, v1.4h, v2.4h"),
    ("fma", 0x6EA2CC20, "fmlsl2 v0.4s, v1.4h, v2.4h"),
    ("fma", 0x4F920020, "fmlal v0.4s, v1.4h, v2.h[1]"),
    ("fma", 0x6F928020, "fmlal2 v0.4s, v1.4h, v2.h[1]"),
    ("fma", 0x2EC2FC20, "bfmlalb v0.4s, v1.8h, v2.8h"),
    ("dot", 0x4E829420, "sdot v0.4s, v1.16b, v2.16b"),
    ("dot", 0x2E829420, "udot v0.2s, v1.8b, v2.8b"),
    ("dot", 0x4FA2E820, "sdot v0.4s, v1.16b, v2.4b[3]"),
    ("dot", 0x6F82E020, "udot v0.4s, v1.16b, v2.4b[0]"),
    ("dot", 0x4E829C20, "usdot v0.4s, v1.16b, v2.16b"),
    ("dot", 0x4FA2F020, "usdot v0.4s, v1.16b, v2.4b[1]"),
    ("dot", 0x4F22F020, "sudot v0.4s, v1.16b, v2.4b[1]"),
    ("dot", 0x6E42FC20, "bfdot v0.4s, v1.8h, v2.8h"),
    ("dot", 0x4F62F020, "bfdot v0.4s, v1.8h, v2.2h[1]"),
    ("mmla", 0x4E82A420, "smmla v0.4s, v1.16b, v2.16b"),
    ("mmla", 0x6E82A420, "ummla v0.4s, v1.16b, v2.16b"),
    ("mmla", 0x4E82AC20, "usmmla v0.4s, v1.16b, v2.16b"),
    ("mmla", 0x6E42EC20, "bfmmla v0.4s, v1.8h, v2.8h"),
    ("mlal", 0x0E628020, "smlal v0.4s, v1.4h, v2.4h"),
    ("mlal", 0x6E228020, "umlal2 v0.8h, v1.16b, v2.16b"),
    ("mlal", 0x0E62A020, "smlsl v0.4s, v1.4h, v2.4h"),
    ("mlal", 0x0E22C020, "smull v0.8h, v1.8b, v2.8b"),
    ("mlal", 0x6E62C020, "umull2 v0.4s, v1.8h, v2.8h"),
    ("mlal", 0x4EA29420, "mla v0.4s, v1.4s, v2.4s"),
    ("mlal", 0x6E629420, "mls v0.8h, v1.8h, v2.8h"),
    ("mlal", 0x0F722020, "smlal v0.4s, v1.4h, v2.h[3]"),
    ("mlal", 0x6F726020, "umlsl2 v0.4s, v1.8h, v2.h[3]"),
    ("mlal", 0x0F72A020, "smull v0.4s, v1.4h, v2.h[3]"),
    ("mlal", 0x6FA20820, "mla v0.4s, v1.4s, v2.s[3]"),
    ("mlal", 0x4E606820, "sadalp v0.4s, v1.8h"),
    ("mlal", 0x6EA06820, "uadalp v0.2d, v1.4s"),
    ("simd", 0x4E22D420, "fadd v0.4s, v1.4s, v2.4s"),
    ("simd", 0x6E22DC20, "fmul v0.4s, v1.4s, v2.4s"),
    ("simd", 0x4FA29020, "fmul v0.4s, v1.4s, v2.s[1]"),
    ("simd", 0x4E22DC20, "fmulx v0.4s, v1.4s, v2.4s"),
    ("simd", 0x4EA28420, "add v0.4s, v1.4s, v2.4s"),
    ("simd", 0x4E040C20, "dup v0.4s, w1"),
    ("simd", 0x6EA2B420, "sqrdmulh v0.4s, v1.4s, v2.4s"),
    ("simd", 0x6E828420, "sqrdmlah v0.4s, v1.4s, v2.4s"),
    ("simd", 0x6E82CC20, "fcmla v0.4s, v1.4s, v2.4s, #90"),
    ("simd", 0x1E222820, "fadd s0, s1, s2"),
    ("simd", 0x1E220020, "scvtf s0, w1"),
    ("simd", 0x1E260020, "fmov w0, s1"),
    ("simd", 0x4EA29C20, "mul v0.4s, v1.4s, v2.4s"),
    ("simd", 0x4E602820, "saddlp v0.4s, v1.8h"),
    ("simd", 0x4E22F420, "fmax v0.4s, v1.4s, v2.4s"),
    ("simd", 0x4E823820, "zip1 v0.4s, v1.4s, v2.4s"),
    ("load_store", 0xF9400020, "ldr x0, [x1]"),
    ("load_store", 0xB9000420, "str w0, [x1, #4]"),
    ("load_store", 0xACC10440, "ldp q0, q1, [x2], #32"),
    ("load_store", 0x4CDFA800, "ld1 {v0.4s, v1.4s}, [x0], #32"),
    ("load_store", 0x4D40C800, "ld1r {v0.4s}, [x0]"),
    ("load_store", 0x4C000000, "st4 {v0.16b-v3.16b}, [x0]"),
    ("load_store", 0xF8200041, "ldadd x0, x1, [x2]"),
    ("load_store", 0xC85F7C20, "ldxr x0, [x1]"),
    ("load_store", 0xF9800000, "prfm pldl1keep, [x0]"),
    ("load_store", 0x9C000000, "ldr q0, ."),
    ("branch", 0x14000000, "b ."),
    ("branch", 0xB4000000, "cbz x0, ."),
    ("branch", 0x54000000, "b.eq ."),
    ("branch", 0x94000000, "bl ."),
    ("branch", 0xD65F03C0, "ret"),
    ("branch", 0xD61F0020, "br x1"),
    ("branch", 0x37180000, "tbnz w0, #3, ."),
    ("branch", 0xD4000001, "svc #0"),
    ("branch", 0xD503201F, "nop"),
    ("branch", 0xD503251F, "hint #40"),
    ("branch", 0xD5033BBF, "dmb ish"),
    ("branch", 0xD53BD040, "mrs x0, tpidr_el0"),
    ("integer", 0x8B020020, "add x0, x1, x2"),
    ("integer", 0x9B020C20, "madd x0, x1, x2, x3"),
    ("integer", 0x90000000, "adrp x0, ."),
    ("integer", 0xD2800020, "movz x0, #1"),
    ("integer", 0xD3431C20, "ubfm x0, x1, #3, #7"),
    ("integer", 0x9A820020, "csel x0, x1, x2, eq"),
    ("integer", 0x9AC20820, "udiv x0, x1, x2"),
    ("simd", 0x65A20020, "fmla z0.s, p0/m, z1.s, z2.s"),
    ("simd", 0xA540A000, "ld1w {z0.s}, p0/z, [x0]"),
]

# (class, instruction word, assembly), worked out from the RISC-V manual's tables.
RISCV_ENCODINGS = [
    ("fma", 0x1820F043, "fmadd.s f0, f1, f2, f3"),
    ("fma", 0x1A20F04B, "fnmsub.d f0, f1, f2, f3"),
    ("simd", 0x0020F053, "fadd.s f0, f1, f2"),
    ("simd", 0x022180D7, "vadd.vv v1, v2, v3"),
    ("load_store", 0x00813083, "ld x1, 8(x2)"),
    ("load_store", 0x00012087, "flw f1, 0(x2)"),
    ("load_store", 0x00113423, "sd x1, 8(x2)"),
    ("load_store", 0x0021A0AF, "amoadd.w x1, x2, (x3)"),
    ("branch", 0x00208063, "beq x1, x2, ."),
    ("branch", 0x0000006F, "j ."),
    ("branch", 0x00008067, "ret"),
    ("branch", 0x00000073, "ecall"),
    ("branch", 0x0FF0000F, "fence"),
    ("integer", 0x00310093, "addi x1, x2, 3"),
    ("integer", 0x023100B3, "mul x1, x2, x3"),
    ("integer", 0x000010B7, "lui x1, 1"),
    ("integer", 0x02802013, "slti x0, x0, 40"),
    ("load_store", 0x6080, "c.ld x8, 0(x9)"),
    ("load_store", 0x2080, "c.fld f8, 0(x9)"),
    ("load_store", 0xE080, "c.sd x8, 0(x9)"),
    ("load_store", 0x60A2, "c.ldsp x1, 8(sp)"),
    ("load_store", 0xE006, "c.sdsp x1, 0(sp)"),
    ("branch", 0xA001, "c.j ."),
    ("branch", 0xC001, "c.beqz x8, ."),
    ("branch", 0x8082, "c.jr x1"),
    ("branch", 0x9002, "c.ebreak"),
    ("integer", 0x0085, "c.addi x1, 1"),
    ("integer", 0x0040, "c.addi4spn x8, sp, 4"),
    ("integer", 0x808A, "c.mv x1, x2"),
    ("integer", 0x0086, "c.slli x1, 1"),
]

# (class, disassembly) as QEMU's disassembler writes A32 and T32.
ARM_TEXTS = [
    ("fma", "vmla.f32 q0, q1, d4[0]"),
    ("fma", "vmlale.f32 s0, s1, s2"),
    ("fma", "vfma.f32 d16, d17, d18"),
    ("fma", "vnmls.f64 d0, d1, d2"),
    ("mlal", "vmlal.s16 q0, d2, d4[1]"),
    ("mlal", "vmlsl.u8 q0, d2, d4"),
    ("mlal", "vmla.i16 q0, q1, q2"),
    ("mlal", "vmull.s8 q0, d2, d4"),
    ("mlal", "vpadal.s16 q0, q1"),
    ("simd", "vadd.f32 q0, q1, q2"),
    ("simd", "vmul.f32 q0, q1, d0[0]"),
    ("simd", "vmov.32 d0[0], r1"),
    ("simd", "vmrs apsr_nzcv, fpscr"),
    ("load_store", "vld1.32 {d0, d1}, [r0]!"),
    ("load_store", "vldmia r0!, {s0, s1}"),
    ("load_store", "vpush {d8, d9}"),
    ("load_store", "ldr.w r0, [r1, #4]"),
    ("load_store", "ldrd r0, r1, [r2]"),
    ("load_store", "stmdb sp!, {r4, lr}"),
    ("load_store", "push {r4, lr}"),
    ("load_store", "pld [r0, #64]"),
    ("branch", "b #0x10"),
    ("branch", "bne.w #0x10"),
    ("branch", "blx r3"),
    ("branch", "cbnz r0, #0x10"),
    ("branch", "svc #0"),
    ("branch", "hint #40"),
    ("integer", "bic r0, r1, #3"),
    ("integer", "bfi r0, r1, #3, #4"),
    ("integer", "add r0, r1, r2"),
    ("integer", "smlabb r0, r1, r2, r3"),
    ("integer", "it eq"),
    ("undecoded", "0x0a 0x0b"),
    ("undecoded", ""),
]

CLASSIFY_MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "eg_classify.h"
int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        puts(eg_class_name(SORT((uint32_t)strtoul(words[i], NULL, 16))));
    }
    return 0;
}
"""

ARM_MAIN = r"""
#include <stdio.h>
#include "eg_classify.h"
int main(int count, char **texts) {
    for (int i = 1; i < count; i++) {
        enum eg_class kind = EG_INTEGER;
        puts(eg_classify_arm(texts[i], &kind) ? eg_class_name(kind) : "undecoded");
    }
    return 0;
}
"""

MARK_MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "eg_isa.h"
int main(int count, char **arguments) {
    const struct eg_isa *isa = eg_isa_of(arguments[1]);
    for (int i = 2; i < count && isa != NULL; i++) {
        printf("%d\n", eg_isa_mark(isa, (uint32_t)strtoul(arguments[i], NULL, 16), 4));
    }
    return isa == NULL;
}
"""

MEMORY_MAIN = r"""
#include <inttypes.h>
#include <stdio.h>
#include "eg_memory_map.h"
static struct eg_memory_map map;
static const struct eg_syscalls calls = {.brk = 214, .munmap = 215, .mremap = 216, .mmap = 222, .mprotect = 226};
int main(void) {
    int64_t number;
    uint64_t a[4];
    int64_t result;
    while (scanf("%" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64, &number, &a[0], &a[1], &a[2],
                 &a[3], &result) == 6) {
        if (number < 0) {
            eg_memory_map_mark(&map);
        } else {
            eg_memory_map_syscall(&map, &calls, number, a, result);
        }
    }
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %d\n", map.mapped_bytes + map.heap_end - map.heap_start, map.peak_bytes,
           map.peak_since_mark_bytes - map.marked_bytes, (int)map.overflowed);
    return 0;
}
"""

BRK, MUNMAP, MREMAP, MMAP, MPROTECT, MARK = 214, 215, 216, 222, 226, -1
PAGE = 4096
READ_WRITE, NONE = 3, 0


def compile_main(folder: Path, text: str, *sources: str, define: str = "UNUSED") -> Path:
    plugin = share_dir("runtimes") / "emulator"
    main = folder / "main.c"
    main.write_text(text, encoding="utf-8")
    program = folder / "main"
    flags = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-Wconversion", f"-D{define}", "-I", str(plugin)]
    subprocess.run(["cc", *flags, "-o", str(program), str(main), *(str(plugin / name) for name in sources)], check=True)
    return program


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("classify")
    program = compile_main(folder, CLASSIFY_MAIN, "eg_classify.c", define="SORT=eg_classify")
    words = [f"{word:x}" for _, word, _ in ENCODINGS]
    return subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("index", range(len(ENCODINGS)), ids=[assembly for _, _, assembly in ENCODINGS])
def test_classify_sorts_a_known_encoding(classes: list[str], index: int) -> None:
    assert classes[index] == ENCODINGS[index][0]


def test_classify_sorts_riscv_words(tmp_path: Path) -> None:
    sources = ("eg_classify.c", "eg_classify_riscv.c")  # the names of the classes are in the first
    program = compile_main(tmp_path, CLASSIFY_MAIN, *sources, define="SORT=eg_classify_riscv")
    said = subprocess.run(
        [program, *(f"{word:x}" for _, word, _ in RISCV_ENCODINGS)], check=True, capture_output=True, text=True
    ).stdout.split()
    assert list(zip(said, [text for *_, text in RISCV_ENCODINGS], strict=True)) == [
        (kind, text) for kind, _, text in RISCV_ENCODINGS
    ]


def test_classify_sorts_arm_by_its_disassembly(tmp_path: Path) -> None:
    program = compile_main(tmp_path, ARM_MAIN, "eg_classify.c", "eg_classify_arm.c")
    texts = [text for _, text in ARM_TEXTS]
    said = subprocess.run([program, *texts], check=True, capture_output=True, text=True).stdout.split()
    assert list(zip(said, texts, strict=True)) == ARM_TEXTS


@pytest.mark.parametrize(
    ("guest", "words"),
    [
        ("aarch64", ("d503251f", "d503253f", "d503255f")),
        ("arm", ("e320f028", "e320f029", "e320f02a")),
        ("riscv64", ("02802013", "02902013", "02a02013")),
    ],
)
def test_marks_of_every_guest_are_known(tmp_path: Path, guest: str, words: tuple[str, ...]) -> None:
    sources = ("eg_isa.c", "eg_classify.c", "eg_classify_riscv.c")
    program = compile_main(tmp_path, MARK_MAIN, *sources)
    said = subprocess.run([program, guest, *words, "0"], check=True, capture_output=True, text=True).stdout.split()
    assert said == ["40", "41", "42", "-1"]
    assert subprocess.run([program, "sparc"], check=False).returncode == 1


def test_classify_knows_the_classes_of_the_records(classes: list[str]) -> None:
    assert set(classes) == set(INSTRUCTION_CLASSES)


@pytest.fixture(scope="module")
def memory_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_main(tmp_path_factory.mktemp("memory"), MEMORY_MAIN, "eg_memory_map.c")


# (calls: number, four arguments, result; now, peak and growth since the mark, in pages)
MEMORY_CASES = {
    "heap grows and shrinks": (
        [(BRK, 0, 0, 0, 0, 0x1000), (BRK, 0x4000, 0, 0, 0, 0x4000), (BRK, 0x2000, 0, 0, 0, 0x2000)],
        (1, 3, 0),
    ),
    "reserved space is not counted": ([(MMAP, 0, 16 * PAGE, NONE, 0, 0x100000)], (0, 0, 0)),
    "reserved space counts once it is made usable": (
        [(MMAP, 0, 16 * PAGE, NONE, 0, 0x100000), (MPROTECT, 0x102000, 3 * PAGE, READ_WRITE, 0, 0)],
        (3, 3, 0),
    ),
    "a mapping over another counts once": (
        [(MMAP, 0, 8 * PAGE, READ_WRITE, 0, 0x100000), (MMAP, 0x102000, 2 * PAGE, READ_WRITE, 0, 0x102000)],
        (8, 8, 0),
    ),
    "a hole in the middle": (
        [(MMAP, 0, 8 * PAGE, READ_WRITE, 0, 0x100000), (MUNMAP, 0x102000, 2 * PAGE, 0, 0, 0)],
        (6, 8, 0),
    ),
    "sizes are whole pages": ([(MMAP, 0, 1, READ_WRITE, 0, 0x100000)], (1, 1, 0)),
    "a mapping moves and grows": (
        [(MMAP, 0, 2 * PAGE, READ_WRITE, 0, 0x100000), (MREMAP, 0x100000, 2 * PAGE, 5 * PAGE, 1, 0x200000)],
        (5, 5, 0),
    ),
    "growth since the mark": (
        [
            (MMAP, 0, 10 * PAGE, READ_WRITE, 0, 0x100000),
            (MUNMAP, 0x100000, 6 * PAGE, 0, 0, 0),
            (MARK, 0, 0, 0, 0, 0),
            (MMAP, 0, 3 * PAGE, READ_WRITE, 0, 0x300000),
        ],
        (7, 10, 3),
    ),
}


@pytest.mark.parametrize("name", MEMORY_CASES)
def test_memory_map_follows_the_guests_calls(memory_program: Path, name: str) -> None:
    calls, (now, peak, growth) = MEMORY_CASES[name]
    text = "\n".join(" ".join(map(str, call)) for call in calls)
    done = subprocess.run([memory_program], input=text, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(now * PAGE), str(peak * PAGE), str(growth * PAGE), "0"]


def test_memory_map_says_when_it_overflows(memory_program: Path) -> None:
    calls = [(MMAP, 0, PAGE, READ_WRITE, 0, 0x100000 + 2 * PAGE * index) for index in range(5000)]
    text = "\n".join(" ".join(map(str, call)) for call in calls)
    done = subprocess.run([memory_program], input=text, check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == "1"
