#include "eg_model.h"
#include "eg_port.h"
#include "eg_protocol.h"

#ifdef EG_PROFILED_OPERATORS
static uint32_t at_end[EG_PROFILED_OPERATORS];

/* Called by the model after each operator, where it was compiled with EG_PROFILE. */
void eg_profile(int place);
void eg_profile(int place)
{
    if (place >= 0 && place < (int)EG_PROFILED_OPERATORS) {
        at_end[place] = (uint32_t)eg_counter_read();
    }
}

uint32_t eg_profiled(uint32_t place)
{
    return place < EG_PROFILED_OPERATORS ? at_end[place] : 0u;
}
#else
uint32_t eg_profiled(uint32_t place)
{
    (void)place;
    return 0u;
}
#endif

/* A call of its own, so that the compiler moves nothing of the model across the readings of the counter. */
__attribute__((noinline)) static uint64_t timed(void (*run)(void), uint32_t runs)
{
    eg_counter_reset();
    const uint64_t begin = eg_counter_read();
    for (uint32_t i = 0; i < runs; i++) {
        run();
    }
    return eg_counter_read() - begin;
}

static void nothing(void)
{
}

uint64_t eg_timed_runs(uint32_t runs)
{
    return timed(eg_model.run, runs);
}

uint64_t eg_timed_read(void)
{
    return timed(eg_model.read, 1u);
}

uint64_t eg_timed_nothing(void)
{
    return timed(nothing, 1u);
}
