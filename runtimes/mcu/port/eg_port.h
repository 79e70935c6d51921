/* What a microcontroller's port gives to the firmware: bytes in and out, a counter, the high water of the stack.
 *
 * One eg_uart_*.c, one eg_counter_*.c and one eg_start_* are linked; a board's own folder may bring files of its own. */
#ifndef EG_PORT_H
#define EG_PORT_H

#include <stdint.h>

/* Clocks and pins, before anything is sent. A machine that needs nothing leaves the weak, empty one in place. */
void eg_board_start(void);

void eg_uart_start(void);
uint8_t eg_uart_get(void); /* waits for the next byte */
void eg_uart_put(uint8_t byte);

/* Chooses and starts the counter. Its frequency is EG_COUNTER_HZ in every case. */
void eg_counter_start(void);
/* Zero, and far from an overflow: immediately before what is timed. */
void eg_counter_reset(void);
uint64_t eg_counter_read(void);  /* ticks since the last reset */
const char *eg_counter_name(void); /* "dwt", "systick", "minstret" or "host" */

/* Bytes between the top of the stack and the lowest word that was ever written. */
uint32_t eg_stack_bytes(void);

/* Says that the core faulted, and stops. program_counter: where. */
void eg_fault(uint32_t program_counter);

#endif
