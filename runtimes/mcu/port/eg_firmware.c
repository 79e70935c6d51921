/* The firmware round a model: what the host's protocol client speaks with. */
#include "eg_port.h"
#include "eg_protocol.h"

/* A firmware that checks its model first links eg_guard.c. */
void eg_guard(void);
__attribute__((weak)) void eg_guard(void)
{
}

int main(void)
{
    static struct eg_protocol protocol;
    eg_board_start();
    eg_uart_start();
    eg_counter_start();
    eg_guard();
    eg_protocol_greet();
    for (;;) {
        eg_protocol_take(&protocol, eg_uart_get());
    }
}
