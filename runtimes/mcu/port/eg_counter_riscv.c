/* Instructions that a RISC-V core has retired. */
#include "eg_port.h"

static uint64_t begin;

static uint64_t retired(void)
{
    uint32_t high, low, again;
    do {
        __asm__ volatile("csrr %0, minstreth\n csrr %1, minstret\n csrr %2, minstreth" : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return ((uint64_t)high << 32) | low;
}

void eg_counter_start(void)
{
    begin = retired();
}

void eg_counter_reset(void)
{
    begin = retired();
}

uint64_t eg_counter_read(void)
{
    return retired() - begin;
}

const char *eg_counter_name(void)
{
    return "minstret";
}
