#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>

#include "eg_engine.h"

void *eg_aligned(uint64_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, bytes > 0u ? (size_t)bytes : 1u) == 0 ? memory : NULL;
}
