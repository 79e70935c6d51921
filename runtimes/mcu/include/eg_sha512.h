#ifndef EG_SHA512_H
#define EG_SHA512_H
/* SHA-512 (FIPS 180-4) of runs of bytes, one after the other. Tables are constant: 704 bytes of flash. */
#include "eg_bytes.h"

#define EG_SHA512_BYTES 64

/* parts: count runs, count >= 0; data of a run of length 0 is not looked at. Stack: about 600 bytes. */
void eg_sha512(const struct eg_bytes *parts, size_t count, uint8_t digest[EG_SHA512_BYTES]);

#endif
