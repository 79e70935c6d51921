/* The port of a host process: the firmware over standard input and output. It ends with its input. */
#include <stdio.h>
#include <stdlib.h>

#include "eg_port.h"

void eg_uart_start(void)
{
}

uint8_t eg_uart_get(void)
{
    const int byte = getchar();
    if (byte == EOF) {
        fflush(stdout);
        exit(EXIT_SUCCESS);
    }
    return (uint8_t)byte;
}

void eg_uart_put(uint8_t byte)
{
    putchar(byte);
    if (byte == '\n') {
        fflush(stdout);
    }
}

/* Nothing is timed here. */
void eg_counter_start(void)
{
}

void eg_counter_reset(void)
{
}

uint64_t eg_counter_read(void)
{
    return 0u;
}

const char *eg_counter_name(void)
{
    return "host";
}

uint32_t eg_stack_bytes(void)
{
    return 0u;
}
