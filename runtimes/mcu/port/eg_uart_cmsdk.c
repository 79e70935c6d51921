/* Arm's CMSDK UART, of the MPS2 and MPS3 boards. */
#include "eg_port.h"

#define DATA (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x00u))
#define STATE (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x04u))
#define CONTROL (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x08u))
#define DIVIDER (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x10u))

#define SEND_FULL 1u
#define RECEIVE_FULL 2u

void eg_uart_start(void)
{
    DIVIDER = (uint32_t)(EG_UART_HZ / EG_UART_BAUD);
    CONTROL = 3u; /* send and receive */
}

uint8_t eg_uart_get(void)
{
    while ((STATE & RECEIVE_FULL) == 0u) {
    }
    return (uint8_t)DATA;
}

void eg_uart_put(uint8_t byte)
{
    while ((STATE & SEND_FULL) != 0u) {
    }
    DATA = byte;
}
