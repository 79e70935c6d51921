/* Architectural no-operations that an instruction counter can see. On a real board, and on other machines, they do
 * nothing. */
#ifndef EG_MARKER_H
#define EG_MARKER_H

#if defined(__aarch64__)
#define EG_MARK(number) __asm__ volatile("hint #" #number ::: "memory")
#else
#define EG_MARK(number) ((void)(number))
#endif

#define EG_MARK_BEGIN() EG_MARK(40)
#define EG_MARK_END() EG_MARK(41)
#define EG_MARK_BEFORE_LOAD() EG_MARK(42)

#endif
