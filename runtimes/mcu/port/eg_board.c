#include "eg_port.h"

/* A machine that needs its clocks or pins started brings a function of this name in its own folder. */
__attribute__((weak)) void eg_board_start(void)
{
}
