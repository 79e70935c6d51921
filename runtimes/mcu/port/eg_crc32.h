#ifndef EG_CRC32_H
#define EG_CRC32_H

#include <stdint.h>

/* The CRC-32 of Ethernet and zlib (reflected 0xEDB88320): begins with EG_CRC32_BEGIN, and is complemented at its end. */
#define EG_CRC32_BEGIN 0xffffffffu
uint32_t eg_crc32_next(uint32_t crc, uint8_t byte);

/* Of length bytes, complete. */
uint32_t eg_crc32(const uint8_t *data, uint32_t length);

#endif
