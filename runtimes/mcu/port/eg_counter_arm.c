/* Cycles of a Cortex-M: DWT where it counts (silicon), else SysTick on the processor's clock with its wraps counted. */
#include "eg_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xe000e010u)
#define SYSTICK_RELOAD REGISTER(0xe000e014u)
#define SYSTICK_VALUE REGISTER(0xe000e018u)
#define SYSTICK_MOST 0xffffffu

/* An emulator's cycles are no cycles, whatever a later one may count there. */
#if __ARM_ARCH >= 7 && !defined(EG_EMULATED)
#define DWT_MAY_COUNT 1
#else
#define DWT_MAY_COUNT 0
#endif

#define DEBUG_CONTROL REGISTER(0xe000edfcu)
#define TRACE_ON (1u << 24)
#define DWT_CONTROL REGISTER(0xe0001000u)
#define DWT_CYCLES REGISTER(0xe0001004u)

static volatile uint32_t wraps;
static uint8_t dwt_counts;

/* In the vector table. */
void eg_systick_handler(void);
void eg_systick_handler(void)
{
    wraps++;
}

void eg_counter_start(void)
{
    SYSTICK_RELOAD = SYSTICK_MOST;
    SYSTICK_VALUE = 0u;
    SYSTICK_CONTROL = 7u; /* processor clock, interrupt, on */
#if DWT_MAY_COUNT
    DEBUG_CONTROL |= TRACE_ON;
    DWT_CYCLES = 0u;
    DWT_CONTROL |= 1u;
    for (uint32_t i = 0; i < 16u && dwt_counts == 0u; i++) {
        dwt_counts = DWT_CYCLES != 0u;
    }
#endif
}

void eg_counter_reset(void)
{
    /* The wrap's interrupt is part of what is counted: with the value cleared here it always comes at the same place. */
    SYSTICK_VALUE = 0u;
    wraps = 0u;
#if DWT_MAY_COUNT
    DWT_CYCLES = 0u;
#endif
}

uint64_t eg_counter_read(void)
{
#if DWT_MAY_COUNT
    if (dwt_counts != 0u && wraps < 255u) { /* 32 bits, which SysTick fills in 256 wraps */
        return DWT_CYCLES;
    }
#endif
    uint32_t before, value;
    do {
        before = wraps;
        value = SYSTICK_VALUE;
    } while (before != wraps);
    return ((uint64_t)before << 24) + (SYSTICK_MOST - value);
}

const char *eg_counter_name(void)
{
    return dwt_counts != 0u ? "dwt" : "systick";
}
