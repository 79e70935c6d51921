/* The 16550 of QEMU's RISC-V machine `virt`. */
#include "eg_port.h"

#define REGISTER(offset) (*(volatile uint8_t *)(EG_UART_ADDRESS + (offset)))
#define DATA REGISTER(0u)
#define INTERRUPTS REGISTER(1u)
#define FIFO_CONTROL REGISTER(2u)
#define LINE_CONTROL REGISTER(3u)
#define LINE_STATUS REGISTER(5u)

#define RECEIVED 0x01u
#define SEND_EMPTY 0x20u

void eg_uart_start(void)
{
    INTERRUPTS = 0u;
    LINE_CONTROL = 3u; /* 8 bits, no parity, one stop bit */
    FIFO_CONTROL = 1u;
}

uint8_t eg_uart_get(void)
{
    while ((LINE_STATUS & RECEIVED) == 0u) {
    }
    return DATA;
}

void eg_uart_put(uint8_t byte)
{
    while ((LINE_STATUS & SEND_EMPTY) == 0u) {
    }
    DATA = byte;
}
