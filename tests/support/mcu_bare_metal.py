"""What a program of kernels needs on a bare core under QEMU: reset, counting, semihosting, a linker script."""

from __future__ import annotations

SEMIHOSTING = """
static void eg_put(const void *bytes, size_t count) {
    static uintptr_t handle;
    static const char name[] = ":tt";
    if (handle == 0) {
        uintptr_t open[3] = {(uintptr_t)name, 4u, 3u};
        handle = eg_host(0x01u, open);
    }
    uintptr_t block[3] = {handle, (uintptr_t)bytes, count};
    eg_host(0x05u, block);
}
__attribute__((unused)) static void eg_drop(const void *bytes, size_t count) { (void)bytes; (void)count; }
__attribute__((unused)) static void eg_note(uint32_t number) { eg_put(&number, sizeof number); }
int main(void);
__attribute__((used)) void eg_begin(void) {
    eg_prepare();
    const int status = main();
    uintptr_t block[2] = {0x20026u, (uintptr_t)status}; /* ADP_Stopped_ApplicationExit */
    eg_host(0x20u, block);
    for (;;) {
    }
}
"""

NETWORK = """
#include "model.h"
#include <string.h>
static int8_t arena[{arena}] __attribute__((aligned(16)));
static int8_t in[{read}] __attribute__((aligned(16)));
static int8_t out[{made}] __attribute__((aligned(16)));
static uint32_t eg_at[128], eg_last;
void eg_profile(int place);
void eg_profile(int place) {{
    const uint32_t now = eg_ticks();
    eg_at[place] = now - eg_last;
    eg_last = eg_ticks();
}}
int main(void) {{
    for (uint32_t i = 0; i < sizeof in; i++) {{
        in[i] = (int8_t)((int32_t)((i * 37u + 11u) % 256u) - 128);
    }}
    eg_last = eg_ticks();
    const uint32_t before = eg_last;
    eg_{name}_run(arena, in, out);
    const uint32_t total = eg_ticks() - before;
    eg_put(eg_at, 4u * EG_OPERATORS);
    eg_note(total);
    eg_put(out, sizeof out);
    return 0;
}}
"""

ARM = """#include <stddef.h>
#include <stdint.h>
extern uint32_t eg_stack_end;
static volatile uint32_t eg_wraps;
static uintptr_t eg_host(uintptr_t operation, void *block) {
    register uintptr_t r0 __asm("r0") = operation;
    register void *r1 __asm("r1") = block;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void eg_prepare(void) {
    *(volatile uint32_t *)0xE000E014u = 0xFFFFFFu;
    *(volatile uint32_t *)0xE000E018u = 0;
    *(volatile uint32_t *)0xE000E010u = 7;
}
static void eg_on_tick(void) { eg_wraps++; }
static void eg_fault(void) {
    uintptr_t block[2] = {0x20024u, 1u};
    eg_host(0x20u, block);
}
__attribute__((unused, noinline)) static uint32_t eg_ticks(void) {
    uint32_t wraps, value;
    do {
        wraps = eg_wraps;
        value = *(volatile uint32_t *)0xE000E018u;
    } while (wraps != eg_wraps);
    return wraps * 0x1000000u + (0xFFFFFFu - value);
}
__attribute__((naked, used)) static void eg_reset(void) {
    /* The coprocessors before any C: gcc may use vectors anywhere. */
    __asm volatile("ldr r0, =0xE000ED88\\n ldr r1, [r0]\\n orr r1, r1, #0xF00000\\n str r1, [r0]\\n dsb\\n isb\\n"
                   "bl eg_begin");
}
typedef void (*eg_vector)(void);
__attribute__((section(".vectors"), used)) static const eg_vector eg_vectors[16] = {
    (eg_vector)(uintptr_t)&eg_stack_end, eg_reset, eg_fault, eg_fault, eg_fault, eg_fault, eg_fault, 0, 0, 0, 0,
    eg_fault, eg_fault, 0, eg_fault, eg_on_tick};
"""

RISCV = """#include <stddef.h>
#include <stdint.h>
static uintptr_t eg_host(uintptr_t operation, void *block) {
    register uintptr_t a0 __asm("a0") = operation;
    register void *a1 __asm("a1") = block;
    __asm volatile(".option push\\n .option norvc\\n .balign 16\\n"
                   "slli x0, x0, 0x1f\\n ebreak\\n srai x0, x0, 7\\n .option pop"
                   : "+r"(a0) : "r"(a1) : "memory");
    return a0;
}
static void eg_prepare(void) {}
__attribute__((unused)) static uint32_t eg_ticks(void) {
    uint32_t count;
    __asm volatile("csrr %0, minstret" : "=r"(count));
    return count;
}
__attribute__((naked, used, section(".vectors"))) void eg_reset(void) {
    __asm volatile("la sp, eg_stack_end\\n call eg_begin");
}
"""

LINK = """
MEMORY {{
  ROM (rx) : ORIGIN = {rom}, LENGTH = {rom_bytes}
  RAM (rwx) : ORIGIN = {ram}, LENGTH = {ram_bytes}
}}
ENTRY(eg_reset)
SECTIONS {{
  .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.srodata*) . = ALIGN(8); }} > ROM
  .ARM.exidx : {{ *(.ARM.exidx*) . = ALIGN(8); }} > ROM
  /* Loaded where it runs: nothing copies it. */
  .data : {{ *(.data*) *(.sdata*) . = ALIGN(8); }} > RAM
  .bss (NOLOAD) : {{ *(.bss*) *(.sbss*) *(COMMON) . = ALIGN(8); end = .; }} > RAM
  eg_stack_end = ORIGIN(RAM) + LENGTH(RAM);
}}
"""
