/* What a guarded firmware proves of its model before it answers: whose it is, and that it works here.
 *
 * The image is the model's own code and constants and its golden vectors, one section that the linker script makes. */
#ifndef EG_GUARD_H
#define EG_GUARD_H

#include <stdint.h>

#include "eg_self_test.h"

/* Begin and end of the image in flash: the linker's. */
extern const uint8_t eg_image_begin[];
extern const uint8_t eg_image_end[];

/* Generated: whose signature it must be, the signature (written behind the link), and what the vectors run with. */
extern const uint8_t eg_guard_key[32];
extern const uint8_t eg_guard_signature[64];
extern const struct eg_golden *const eg_guard_golden;
void *eg_guard_arena(void);

/* Returns where signature and golden vectors hold; else says which does not, and stops. A firmware without a guard has
 * an empty, weak one. */
void eg_guard(void);

#endif
