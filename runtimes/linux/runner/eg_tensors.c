#define _POSIX_C_SOURCE 200809L
#include "eg_tensors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char MAGIC[8] = {'E', 'G', 'T', 'E', 'N', 'S', 'R', '1'};
enum { HEADER_BYTES = 32, DESCRIPTOR_BYTES = 336, NAME_AT = 80, ALIGNMENT = 64 };
static const uint64_t MAX_DATA_BYTES = UINT64_C(1) << 31;
static const uint64_t MAX_AXIS = UINT64_C(0x7FFFFFFF);
static const uint32_t MAX_SAMPLES = UINT32_C(1) << 20;

static uint32_t load32(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t load64(const unsigned char *at) {
    return (uint64_t)load32(at) | (uint64_t)load32(at + 4) << 32;
}

static void store32(unsigned char *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> (8 * i) & 0xFFu);
    }
}

static void store64(unsigned char *at, uint64_t value) {
    store32(at, (uint32_t)(value & 0xFFFFFFFFu));
    store32(at + 4, (uint32_t)(value >> 32));
}

size_t eg_dtype_bytes(uint32_t dtype) {
    switch (dtype) {
    case EG_FLOAT32:
    case EG_INT32:
    case EG_UINT32:
        return 4;
    case EG_FLOAT64:
    case EG_INT64:
    case EG_UINT64:
        return 8;
    case EG_FLOAT16:
    case EG_INT16:
    case EG_UINT16:
        return 2;
    case EG_INT8:
    case EG_UINT8:
    case EG_BOOL:
        return 1;
    default:
        return 0;
    }
}

enum eg_status eg_spec_complete(struct eg_spec *spec) {
    uint64_t bytes = eg_dtype_bytes((uint32_t)spec->dtype);
    if (bytes == 0u || spec->rank > EG_MAX_RANK) {
        return eg_fail(EG_BAD_USAGE, "tensor %s: dtype %d or rank %u is not supported", spec->name, (int)spec->dtype,
                       spec->rank);
    }
    for (uint32_t i = 0; i < spec->rank; i++) {
        if (spec->axes[i] < 1u || spec->axes[i] > MAX_AXIS || bytes > MAX_DATA_BYTES / spec->axes[i]) {
            return eg_fail(EG_BAD_USAGE, "tensor %s: axis %u is out of range", spec->name, i);
        }
        bytes *= spec->axes[i];
    }
    spec->bytes = bytes;
    return EG_OK;
}

static uint64_t data_offset(uint32_t count) {
    const uint64_t end = HEADER_BYTES + (uint64_t)DESCRIPTOR_BYTES * count;
    return (end + ALIGNMENT - 1u) / ALIGNMENT * ALIGNMENT;
}

static enum eg_status parse_descriptor(const unsigned char *at, struct eg_spec *spec) {
    const uint32_t name_bytes = load32(at + 72);
    memset(spec, 0, sizeof *spec);
    if (name_bytes < 1u || name_bytes > EG_MAX_NAME || memchr(at + NAME_AT, 0, name_bytes) != NULL) {
        return eg_fail(EG_BAD_USAGE, "a tensor's name has %u bytes or holds a zero byte", name_bytes);
    }
    memcpy(spec->name, at + NAME_AT, name_bytes);
    spec->dtype = (enum eg_dtype)load32(at);
    spec->rank = load32(at + 4);
    for (int i = 0; i < EG_MAX_RANK; i++) {
        spec->axes[i] = load64(at + 8 + 8 * i);
    }
    return eg_spec_complete(spec);
}

static enum eg_status parse_head(const unsigned char *head, struct eg_tensors *tensors) {
    tensors->count = load32(head + 8);
    tensors->samples = load32(head + 12);
    if (memcmp(head, MAGIC, sizeof MAGIC) != 0) {
        return eg_fail(EG_BAD_USAGE, "not a tensor file");
    }
    if (tensors->count < 1u || tensors->count > EG_MAX_TENSORS || tensors->samples < 1u ||
        tensors->samples > MAX_SAMPLES) {
        return eg_fail(EG_BAD_USAGE, "the tensor file claims %u tensors and %u samples", tensors->count,
                       tensors->samples);
    }
    return EG_OK;
}

static enum eg_status parse_descriptors(FILE *stream, const unsigned char *head, struct eg_tensors *tensors) {
    unsigned char descriptor[DESCRIPTOR_BYTES];
    tensors->sample_bytes = 0;
    for (uint32_t i = 0; i < tensors->count; i++) {
        if (fread(descriptor, sizeof descriptor, 1, stream) != 1) {
            return eg_fail(EG_BAD_USAGE, "the tensor file ends within its descriptors");
        }
        const enum eg_status status = parse_descriptor(descriptor, &tensors->specs[i]);
        if (status != EG_OK) {
            return status;
        }
        tensors->sample_bytes += tensors->specs[i].bytes;
    }
    if (tensors->sample_bytes > MAX_DATA_BYTES / tensors->samples || load64(head + 16) != data_offset(tensors->count) ||
        load64(head + 24) != tensors->sample_bytes * tensors->samples) {
        return eg_fail(EG_BAD_USAGE, "the tensor file's sizes contradict its descriptors");
    }
    return EG_OK;
}

static enum eg_status read_data(FILE *stream, struct eg_tensors *tensors) {
    const size_t bytes = (size_t)(tensors->sample_bytes * tensors->samples);
    void *memory = NULL;
    if (posix_memalign(&memory, ALIGNMENT, bytes) != 0) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory for %zu bytes of samples", bytes);
    }
    if (fseek(stream, (long)data_offset(tensors->count), SEEK_SET) != 0 || fread(memory, 1, bytes, stream) != bytes ||
        fgetc(stream) != EOF) {
        free(memory);
        return eg_fail(EG_BAD_USAGE, "the tensor file is shorter or longer than it says");
    }
    tensors->data = memory;
    return EG_OK;
}

enum eg_status eg_tensors_read(const char *path, struct eg_tensors *tensors) {
    unsigned char head[HEADER_BYTES];
    enum eg_status status;
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        return eg_fail(EG_BAD_USAGE, "cannot open %s: %s", path, strerror(errno));
    }
    if (fread(head, sizeof head, 1, stream) != 1) {
        status = eg_fail(EG_BAD_USAGE, "%s is too short for a tensor file", path);
    } else {
        status = parse_head(head, tensors);
    }
    if (status == EG_OK) {
        status = parse_descriptors(stream, head, tensors);
    }
    if (status == EG_OK) {
        status = read_data(stream, tensors);
    }
    (void)fclose(stream); /* only read from */
    return status;
}

enum eg_status eg_tensors_write_header(FILE *stream, const struct eg_spec *specs, uint32_t count, uint32_t samples) {
    unsigned char head[HEADER_BYTES] = {0};
    uint64_t sample_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        sample_bytes += specs[i].bytes;
    }
    if (count < 1u || count > EG_MAX_TENSORS || sample_bytes > MAX_DATA_BYTES / samples) {
        return eg_fail(EG_BAD_MODEL, "%u outputs of %u samples are more than a tensor file holds", count, samples);
    }
    memcpy(head, MAGIC, sizeof MAGIC);
    store32(head + 8, count);
    store32(head + 12, samples);
    store64(head + 16, data_offset(count));
    store64(head + 24, sample_bytes * samples);
    bool written = fwrite(head, sizeof head, 1, stream) == 1;
    for (uint32_t i = 0; i < count; i++) {
        unsigned char descriptor[DESCRIPTOR_BYTES] = {0};
        store32(descriptor, (uint32_t)specs[i].dtype);
        store32(descriptor + 4, specs[i].rank);
        for (uint32_t axis = 0; axis < specs[i].rank; axis++) {
            store64(descriptor + 8 + 8 * (size_t)axis, specs[i].axes[axis]);
        }
        store32(descriptor + 72, (uint32_t)strlen(specs[i].name));
        memcpy(descriptor + NAME_AT, specs[i].name, strlen(specs[i].name));
        written = written && fwrite(descriptor, sizeof descriptor, 1, stream) == 1;
    }
    const unsigned char zeros[ALIGNMENT] = {0};
    const size_t gap = (size_t)(data_offset(count) - HEADER_BYTES - (uint64_t)DESCRIPTOR_BYTES * count);
    written = written && fwrite(zeros, 1, gap, stream) == gap;
    return written ? EG_OK : eg_fail(EG_BAD_SYSTEM, "cannot write the outputs: %s", strerror(errno));
}
