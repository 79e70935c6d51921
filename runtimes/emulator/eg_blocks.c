#include "eg_blocks.h"

#include <inttypes.h>
#include <stdlib.h>

struct eg_block *eg_block_of(struct eg_blocks *blocks, uint64_t address) {
    struct eg_block **place = &blocks->buckets[(address >> 2) % EG_BLOCK_BUCKETS];
    while (*place != NULL && (*place)->address != address) {
        place = &(*place)->next;
    }
    if (*place == NULL) {
        *place = calloc(1, sizeof **place);
        if (*place == NULL) {
            blocks->failed = true;
            return NULL;
        }
        (*place)->address = address;
        (*place)->region = UINT64_MAX;
    }
    return *place;
}

static bool grow(struct eg_block *block) {
    const uint32_t capacity = block->capacity == 0u ? 8u : 2u * block->capacity;
    uint32_t *clocks = realloc(block->clocks, capacity * sizeof *clocks);
    if (clocks == NULL) {
        return false;
    }
    block->clocks = clocks;
    uint64_t *at = realloc(block->at, capacity * sizeof *at);
    if (at == NULL) {
        return false;
    }
    block->at = at;
    block->capacity = capacity;
    return true;
}

void eg_block_enter(struct eg_blocks *blocks, struct eg_block *block, uint64_t region, uint32_t clocks, uint64_t instructions) {
    if (block->region != region) {
        block->region = region;
        block->count = 0;
    }
    if (block->count > clocks) { /* it ran before between the same two readings */
        block->count = UINT32_MAX;
        return;
    }
    if (block->count == block->capacity && !grow(block)) {
        blocks->failed = true;
        block->count = UINT32_MAX;
        return;
    }
    block->clocks[block->count] = clocks;
    block->at[block->count] = instructions;
    block->count++;
}

static void write_block(const struct eg_block *block, FILE *out) {
    fprintf(out, "{\"event\":\"block\",\"region\":%" PRIu64 ",\"address\":%" PRIu64 ",\"clocks\":[", block->region,
            block->address);
    for (uint32_t i = 0; i < block->count; i++) {
        fprintf(out, "%s%" PRIu32, i > 0u ? "," : "", block->clocks[i]);
    }
    fprintf(out, "],\"at\":[");
    for (uint32_t i = 0; i < block->count; i++) {
        fprintf(out, "%s%" PRIu64, i > 0u ? "," : "", block->at[i]);
    }
    fprintf(out, "]}\n");
}

void eg_blocks_write(const struct eg_blocks *blocks, uint64_t region, FILE *out) {
    if (blocks->failed) {
        return;
    }
    for (unsigned i = 0; i < EG_BLOCK_BUCKETS; i++) {
        for (const struct eg_block *block = blocks->buckets[i]; block != NULL; block = block->next) {
            if (block->region == region && block->count != UINT32_MAX) {
                write_block(block, out);
            }
        }
    }
}
