/* Architectural no-operations that an instruction counter can see. On a real board, and on other machines, they do
 * nothing. runtimes/emulator/eg_isa.c knows the words that they are made of. */
#ifndef EG_MARKER_H
#define EG_MARKER_H

#if defined(__aarch64__)
#define EG_MARK(number) __asm__ volatile("hint #" #number ::: "memory")
#elif defined(__arm__) && !defined(__thumb__)
/* A32: HINT #number; those that no architecture version gives a meaning do nothing. */
#define EG_MARK(number) __asm__ volatile(".inst 0xe320f000 + " #number ::: "memory")
#elif defined(__riscv)
/* SLTI with x0 as its destination: set aside for hints of one's own (RISC-V unprivileged ISA, "HINT instructions"). */
#define EG_MARK(number) __asm__ volatile("slti x0, x0, " #number ::: "memory")
#else
#define EG_MARK(number) ((void)(number))
#endif

#define EG_MARK_BEGIN() EG_MARK(40)
#define EG_MARK_END() EG_MARK(41)
#define EG_MARK_BEFORE_LOAD() EG_MARK(42)

#endif
