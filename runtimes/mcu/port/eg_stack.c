#include "eg_port.h"

#define PAINT 0xa5a5a5a5u /* as eg_start_*.S paints it */

extern const uint32_t eg_stack_low[], eg_stack_top[]; /* of the linker script */

uint32_t eg_stack_bytes(void)
{
    const uint32_t *lowest = eg_stack_low;
    while (lowest < eg_stack_top && *lowest == PAINT) {
        lowest++;
    }
    return (uint32_t)((uintptr_t)eg_stack_top - (uintptr_t)lowest);
}
