/* The low-power UART of STM32L0, L4, G, H and U. Its clock and pins are the board's to start. */
#include "eg_port.h"

#define REGISTER(offset) (*(volatile uint32_t *)(EG_UART_ADDRESS + (offset)))
#define CONTROL REGISTER(0x00u)
#define DIVIDER REGISTER(0x0cu)
#define STATUS REGISTER(0x1cu)
#define CLEAR REGISTER(0x20u)
#define RECEIVE_DATA REGISTER(0x24u)
#define SEND_DATA REGISTER(0x28u)

#define OVERRUN (1u << 3)
#define RECEIVED (1u << 5)
#define SEND_EMPTY (1u << 7)

void eg_uart_start(void)
{
    DIVIDER = (uint32_t)(256u * (uint64_t)EG_UART_HZ / EG_UART_BAUD);
    CONTROL = (1u << 3) | (1u << 2) | 1u; /* send, receive, on */
}

uint8_t eg_uart_get(void)
{
    while ((STATUS & RECEIVED) == 0u) {
        CLEAR = OVERRUN; /* bytes were lost, which the checksums tell */
    }
    return (uint8_t)RECEIVE_DATA;
}

void eg_uart_put(uint8_t byte)
{
    while ((STATUS & SEND_EMPTY) == 0u) {
    }
    SEND_DATA = byte;
}
