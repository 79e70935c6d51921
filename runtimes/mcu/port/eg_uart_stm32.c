/* The USART of STM32F1, F2 and F4. Its clock and pins are the board's to start. */
#include "eg_port.h"

#define STATUS (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x00u))
#define DATA (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x04u))
#define DIVIDER (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x08u))
#define CONTROL (*(volatile uint32_t *)(EG_UART_ADDRESS + 0x0cu))

#define RECEIVED (1u << 5)
#define SEND_EMPTY (1u << 7)

void eg_uart_start(void)
{
    DIVIDER = (uint32_t)(EG_UART_HZ / EG_UART_BAUD);
    CONTROL = (1u << 13) | (1u << 3) | (1u << 2); /* on, send, receive */
}

uint8_t eg_uart_get(void)
{
    while ((STATUS & RECEIVED) == 0u) {
    }
    return (uint8_t)DATA;
}

void eg_uart_put(uint8_t byte)
{
    while ((STATUS & SEND_EMPTY) == 0u) {
    }
    DATA = byte;
}
