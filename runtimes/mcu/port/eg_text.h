/* Text over the serial line, without a C library's printf: flash is dear, and its stack dearer. */
#ifndef EG_TEXT_H
#define EG_TEXT_H

#include <stdint.h>

void eg_say(const char *text);
void eg_say_unsigned(uint64_t value);
void eg_say_millionths(int64_t value); /* -1500000 as "-1.500000" */
void eg_say_hex(uint32_t value, unsigned digits);
void eg_say_byte(uint8_t byte);
void eg_say_end(void); /* the end of a line */
/* The end of a line that holds a figure: " #" and the CRC-32 of what the line held so far, as eight digits. */
void eg_say_checked_end(void);

#endif
