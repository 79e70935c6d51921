#include "eg_text.h"

#include "eg_crc32.h"
#include "eg_port.h"

static uint32_t crc_of_line = EG_CRC32_BEGIN;

void eg_say_byte(uint8_t byte)
{
    crc_of_line = eg_crc32_next(crc_of_line, byte);
    eg_uart_put(byte);
}

void eg_say(const char *text)
{
    while (*text != '\0') {
        eg_say_byte((uint8_t)*text++);
    }
}

static void say_padded(uint64_t value, unsigned digits)
{
    char text[20];
    unsigned used = 0;
    do {
        text[used++] = (char)('0' + (int)(value % 10u));
        value /= 10u;
    } while (value != 0u || used < digits);
    while (used > 0u) {
        eg_say_byte((uint8_t)text[--used]);
    }
}

void eg_say_unsigned(uint64_t value)
{
    say_padded(value, 1);
}

void eg_say_millionths(int64_t value)
{
    const uint64_t size = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    if (value < 0) {
        eg_say_byte('-');
    }
    say_padded(size / 1000000u, 1);
    eg_say_byte('.');
    say_padded(size % 1000000u, 6);
}

void eg_say_hex(uint32_t value, unsigned digits)
{
    while (digits > 0u) {
        digits--;
        eg_say_byte((uint8_t)"0123456789abcdef"[(value >> (4u * digits)) & 15u]);
    }
}

void eg_say_end(void)
{
    eg_say("\r\n");
    crc_of_line = EG_CRC32_BEGIN;
}

void eg_say_checked_end(void)
{
    const uint32_t crc = ~crc_of_line;
    eg_say(" #");
    eg_say_hex(crc, 8);
    eg_say_end();
}
