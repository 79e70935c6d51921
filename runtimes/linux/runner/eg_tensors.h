/* The tensor file: named arrays for a number of samples, in and out of the runner.
 *
 * Little-endian, no padding but where said:
 *   offset  bytes  what
 *        0      8  "EGTENSR1"
 *        8      4  tensors, 1..64
 *       12      4  samples, 1..1048576
 *       16      8  offset of the data: the end of the descriptors, rounded up to 64
 *       24      8  bytes of data: samples x (sum of the tensors' bytes per sample), at most 2 GiB
 *       32   336n  descriptors, one a tensor:
 *                    4 dtype (enum eg_dtype)  4 rank, 0..8
 *                    64 eight uint64 axes, each 1..2^31-1, those past the rank 0
 *                    4 bytes of the name, 1..255  4 zero  256 the name in UTF-8, filled up with zero bytes
 *   data           sample by sample, and within a sample tensor by tensor, each in C order
 * The file ends where the data ends. A bool is one byte, 0 or 1.
 */
#ifndef EG_TENSORS_H
#define EG_TENSORS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "eg_report.h"

#define EG_MAX_TENSORS 64
#define EG_MAX_RANK 8
#define EG_MAX_NAME 255

enum eg_dtype {
    EG_FLOAT32 = 1,
    EG_FLOAT16 = 2,
    EG_INT8 = 3,
    EG_UINT8 = 4,
    EG_INT32 = 5,
    EG_INT64 = 6,
    EG_BOOL = 7,
    EG_INT16 = 8,
    EG_UINT16 = 9,
    EG_UINT32 = 10,
    EG_UINT64 = 11,
    EG_FLOAT64 = 12
};

/* One tensor of one sample. */
struct eg_spec {
    enum eg_dtype dtype;
    uint32_t rank;
    uint64_t axes[EG_MAX_RANK];
    char name[EG_MAX_NAME + 1];
    uint64_t bytes; /* of one sample; set by eg_spec_complete */
};

/* A whole file in memory. */
struct eg_tensors {
    uint32_t count;
    uint32_t samples;
    struct eg_spec specs[EG_MAX_TENSORS];
    uint64_t sample_bytes;
    unsigned char *data;
};

/* Bytes of an element, or 0 for an unknown type. */
size_t eg_dtype_bytes(uint32_t dtype);

/* Checks the axes and sets `bytes`. */
enum eg_status eg_spec_complete(struct eg_spec *spec);

/* Reads and validates a file; free `data` afterwards. */
enum eg_status eg_tensors_read(const char *path, struct eg_tensors *tensors);

/* Writes what stands before the data. */
enum eg_status eg_tensors_write_header(FILE *stream, const struct eg_spec *specs, uint32_t count, uint32_t samples);

#endif
