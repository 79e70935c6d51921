/* Which blocks of straight code run once between two readings of the clock: those are a loop's own, and mark its rounds
 * in a run that reads no clock. */
#ifndef EG_BLOCKS_H
#define EG_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { EG_BLOCK_BUCKETS = 65536 };

struct eg_block {
    struct eg_block *next; /* of the same bucket */
    uint64_t address;
    uint64_t region;      /* the figures below are of this region */
    uint32_t count;       /* executions in it */
    uint32_t capacity;
    uint32_t *clocks;     /* readings of the clock in the region before each execution */
    uint64_t *at;         /* instructions of the region before each execution */
};

struct eg_blocks {
    struct eg_block *buckets[EG_BLOCK_BUCKETS];
    bool failed; /* out of memory: nothing is written */
};

/* The block that begins at `address`, made if it is new; NULL when there is no memory. */
struct eg_block *eg_block_of(struct eg_blocks *blocks, uint64_t address);

/* Notes one execution. One that ran more often than the clock was read is no loop's own, and keeps its count alone. */
void eg_block_enter(struct eg_blocks *blocks, struct eg_block *block, uint64_t region, uint32_t clocks, uint64_t instructions);

/* A line of JSON a block that ran in `region`, and not more often than the clock was read before. */
void eg_blocks_write(const struct eg_blocks *blocks, uint64_t region, FILE *out);

#endif
