/* STM32L4R5 on the Nucleo-144: 120 MHz from the internal oscillator, and LPUART1 on PG7 and PG8, which the board's
 * debugger shows as a serial port. Registers as known of ST's reference manual RM0432; it has not run on a board. */
#include "eg_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define RCC_CONTROL REGISTER(0x40021000u)
#define RCC_CONFIGURATION REGISTER(0x40021008u)
#define RCC_PLL REGISTER(0x4002100cu)
#define RCC_AHB2 REGISTER(0x4002104cu)
#define RCC_APB1 REGISTER(0x40021058u)
#define RCC_APB1_MORE REGISTER(0x4002105cu)
#define FLASH_ACCESS REGISTER(0x40022000u)
#define POWER_MORE REGISTER(0x40007004u)
#define POWER_RANGE REGISTER(0x40007080u)
#define PORT_G_MODE REGISTER(0x48001800u)
#define PORT_G_LOW_FUNCTION REGISTER(0x48001820u)
#define PORT_G_HIGH_FUNCTION REGISTER(0x48001824u)

#define PLL_READY (1u << 25)
#define HALF_SPEED (8u << 4)
#define FROM_PLL 3u

static void start_clock(void)
{
    POWER_RANGE &= ~(1u << 8);                                   /* boost: needed above 80 MHz */
    FLASH_ACCESS = (FLASH_ACCESS & ~15u) | 5u | (7u << 8);       /* five wait states; prefetch and both caches */
    while ((FLASH_ACCESS & 15u) != 5u) {
    }
    RCC_PLL = 1u | (60u << 8) | (1u << 24);                      /* 4 MHz of MSI * 60 / 2 */
    RCC_CONTROL |= 1u << 24;
    while ((RCC_CONTROL & PLL_READY) == 0u) {
    }
    /* Through half the speed, as the manual asks for steps beyond 80 MHz. */
    RCC_CONFIGURATION = HALF_SPEED | FROM_PLL;
    while ((RCC_CONFIGURATION & 12u) != 12u) {
    }
    for (volatile uint32_t i = 0; i < 100u; i++) {
    }
    RCC_CONFIGURATION = FROM_PLL;
}

void eg_board_start(void)
{
    RCC_APB1 |= 1u << 28; /* power control */
    start_clock();
    POWER_MORE |= 1u << 9; /* port G has a supply of its own */
    RCC_AHB2 |= 1u << 6;
    RCC_APB1_MORE |= 1u;
    PORT_G_LOW_FUNCTION = (PORT_G_LOW_FUNCTION & ~(15u << 28)) | (8u << 28);
    PORT_G_HIGH_FUNCTION = (PORT_G_HIGH_FUNCTION & ~15u) | 8u;
    PORT_G_MODE = (PORT_G_MODE & ~(15u << 14)) | (10u << 14);
}
