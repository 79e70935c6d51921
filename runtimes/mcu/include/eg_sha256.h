#ifndef EG_SHA256_H
#define EG_SHA256_H
/* SHA-256 (FIPS 180-4) of runs of bytes, one after the other. Tables are constant: 288 bytes of flash. */
#include "eg_bytes.h"

#define EG_SHA256_BYTES 32

/* parts: count runs, count >= 0; data of a run of length 0 is not looked at. Stack: about 300 bytes. */
void eg_sha256(const struct eg_bytes *parts, size_t count, uint8_t digest[EG_SHA256_BYTES]);

#endif
