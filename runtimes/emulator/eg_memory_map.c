#include "eg_memory_map.h"

enum { PROTECTION_READ_OR_WRITE = 0x3 };
enum { PAGE_BYTES = 4096 };

static uint64_t page_up(uint64_t bytes) {
    return (bytes + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);
}

static void update_peaks(struct eg_memory_map *map) {
    const uint64_t now = map->mapped_bytes + (map->heap_end - map->heap_start);
    if (now > map->peak_bytes) {
        map->peak_bytes = now;
    }
    if (map->marked && now > map->peak_since_mark_bytes) {
        map->peak_since_mark_bytes = now;
    }
}

static void add_range(struct eg_memory_map *map, uint64_t start, uint64_t end) {
    if (start >= end) {
        return;
    }
    if (map->count == EG_MAX_MAPPINGS) {
        map->overflowed = true;
        return;
    }
    map->mappings[map->count].start = start;
    map->mappings[map->count].end = end;
    map->count++;
    map->mapped_bytes += end - start;
}

/* Cuts [start, end) out of every range; what lies outside it stays. */
static void remove_range(struct eg_memory_map *map, uint64_t start, uint64_t end) {
    size_t i = 0;
    while (i < map->count) {
        const struct eg_mapping old = map->mappings[i];
        if (old.end <= start || old.start >= end) {
            i++;
            continue;
        }
        map->mapped_bytes -= old.end - old.start;
        map->mappings[i] = map->mappings[--map->count];
        if (old.start < start) {
            add_range(map, old.start, start); /* lands behind i and is skipped when it comes up */
        }
        if (old.end > end) {
            add_range(map, end, old.end);
        }
    }
}

static void set_usable(struct eg_memory_map *map, uint64_t start, uint64_t bytes, uint64_t protection) {
    remove_range(map, start, start + page_up(bytes));
    if ((protection & PROTECTION_READ_OR_WRITE) != 0u) {
        add_range(map, start, start + page_up(bytes));
    }
}

void eg_memory_map_syscall(struct eg_memory_map *map, const struct eg_syscalls *calls, int64_t number,
                           const uint64_t arguments[4], int64_t result) {
    const uint64_t address = (uint64_t)result;
    if (number == calls->brk) {
        if (map->heap_start == 0u) {
            map->heap_start = address; /* the first call asks where the heap begins */
        }
        map->heap_end = address;
    } else if (number == calls->mmap) {
        set_usable(map, address, arguments[1], arguments[2]);
    } else if (number == calls->mprotect) {
        set_usable(map, arguments[0], arguments[1], arguments[2]);
    } else if (number == calls->munmap) {
        remove_range(map, arguments[0], arguments[0] + page_up(arguments[1]));
    } else if (number == calls->mremap) {
        remove_range(map, arguments[0], arguments[0] + page_up(arguments[1]));
        add_range(map, address, address + page_up(arguments[2]));
    } else {
        return;
    }
    update_peaks(map);
}

void eg_memory_map_mark(struct eg_memory_map *map) {
    map->marked = true;
    map->marked_bytes = map->mapped_bytes + (map->heap_end - map->heap_start);
    map->peak_since_mark_bytes = map->marked_bytes;
}
