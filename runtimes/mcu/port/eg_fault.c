#include "eg_port.h"
#include "eg_text.h"

void eg_fault(uint32_t program_counter)
{
    eg_say_end();
    eg_say("x-fault-");
    eg_say_hex(program_counter, 8);
    eg_say_end();
    for (;;) {
    }
}
