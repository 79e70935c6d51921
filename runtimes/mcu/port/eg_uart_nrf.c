/* The UART (without DMA) of nRF51 and nRF52. Its pins are the board's to choose. */
#include "eg_port.h"

#define REGISTER(offset) (*(volatile uint32_t *)(EG_UART_ADDRESS + (offset)))
#define START_RECEIVING REGISTER(0x000u)
#define START_SENDING REGISTER(0x008u)
#define RECEIVED REGISTER(0x108u)
#define SENT REGISTER(0x11cu)
#define ENABLE REGISTER(0x500u)
#define RECEIVE_DATA REGISTER(0x518u)
#define SEND_DATA REGISTER(0x51cu)
#define BAUD_RATE REGISTER(0x524u)

void eg_uart_start(void)
{
    BAUD_RATE = (uint32_t)(((uint64_t)EG_UART_BAUD << 32) / 16000000u) & 0xfffff000u; /* of a clock of 16 MHz */
    ENABLE = 4u;
    START_RECEIVING = 1u;
    START_SENDING = 1u;
}

uint8_t eg_uart_get(void)
{
    while (RECEIVED == 0u) {
    }
    RECEIVED = 0u;
    return (uint8_t)RECEIVE_DATA;
}

void eg_uart_put(uint8_t byte)
{
    SENT = 0u;
    SEND_DATA = byte;
    while (SENT == 0u) {
    }
}
