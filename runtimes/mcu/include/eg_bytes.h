#ifndef EG_BYTES_H
#define EG_BYTES_H
/* A run of bytes, in flash or in memory. */
#include <stddef.h>
#include <stdint.h>

struct eg_bytes {
    const uint8_t *data;
    size_t length;
};

#endif
