/* Commands that MLPerf Tiny does not have; edgegen's page mcu-devices says what each answers. Every line of an answer
 * has a checksum, so that a damaged one can never be taken for a figure. */
#include "eg_crc32.h"
#include "eg_model.h"
#include "eg_port.h"
#include "eg_protocol.h"
#include "eg_text.h"

#define LINE_BYTES 128u /* of output a line */
#define LINE_TICKS 16u  /* of the profile a line */
#define DATA_BYTES 1024u /* that a host should send with one x-data */

static void say_failure(const char *what)
{
    eg_say("e-[");
    eg_say(what);
    eg_say("]");
    eg_say_end();
}

static void say_number(const char *name, uint64_t value)
{
    eg_say(name);
    eg_say_unsigned(value);
    eg_say_checked_end();
}

static void say_fact(const char *name, const char *value)
{
    eg_say("x-info-");
    eg_say(name);
    eg_say("-[");
    eg_say(value);
    eg_say("]");
    eg_say_checked_end();
}

static void info(void)
{
    say_fact("digest", eg_model.digest);
    say_fact("counter", eg_counter_name());
    say_fact("machine", EG_MACHINE);
    say_number("x-info-hz-", EG_COUNTER_HZ);
    say_number("x-info-overhead-", eg_timed_nothing());
    say_number("x-info-arena-", eg_model.arena_bytes);
    say_number("x-info-input-", eg_model.input_bytes);
    say_number("x-info-output-", eg_model.output_bytes);
    say_number("x-info-operators-", eg_model.operators);
    say_number("x-info-data-", DATA_BYTES);
    say_number("x-info-place-", (uint64_t)(uintptr_t)eg_model.input);
}

static void load(struct eg_protocol *protocol, const char *arguments)
{
    uint32_t bytes = 0, crc = 0;
    protocol->loading = EG_NO_LOAD;
    protocol->ready = 0u;
    if (!eg_read_unsigned(&arguments, &bytes) || bytes != eg_model.input_bytes) {
        say_failure("x-load takes the input block's bytes and their CRC-32");
        return;
    }
    arguments = eg_next_word(arguments);
    for (unsigned i = 0; i < 8u; i++) {
        const int digit = eg_hex_digit((uint8_t)arguments[i]);
        if (digit < 0) {
            say_failure("x-load takes the input block's bytes and their CRC-32");
            return;
        }
        crc = (crc << 4) | (uint32_t)digit;
    }
    protocol->loading = EG_BLOCK_LOAD;
    protocol->announced = bytes;
    protocol->stored = 0u;
    protocol->crc = crc;
    say_number("x-load-", bytes);
}

static void check_block(struct eg_protocol *protocol)
{
    protocol->loading = EG_NO_LOAD;
    if (protocol->stored != protocol->announced || eg_crc32(eg_model.input, protocol->announced) != protocol->crc) {
        say_failure("x-load came damaged");
        return;
    }
    protocol->ready = 1u;
    eg_say("x-load-done");
    eg_say_checked_end();
}

/* The block was written by a debugger instead of x-data. */
static void placed(struct eg_protocol *protocol)
{
    if (protocol->loading != EG_BLOCK_LOAD) {
        say_failure("x-placed without x-load");
        return;
    }
    protocol->stored = protocol->announced;
    check_block(protocol);
}

void eg_end_of_data(struct eg_protocol *protocol)
{
    if (protocol->loading != EG_BLOCK_LOAD) {
        say_failure("x-data without x-load");
        return;
    }
    if (protocol->bad_digit != 0u || protocol->high_digit >= 0) {
        protocol->loading = EG_NO_LOAD;
        say_failure(protocol->bad_digit != 0u ? "Invalid hex digit" : "Insufficent number of hex digits");
        return;
    }
    if (protocol->stored >= protocol->announced) {
        check_block(protocol);
    }
}

static void run(struct eg_protocol *protocol)
{
    if (protocol->ready == 0u) {
        say_failure("x-run without a whole input");
        return;
    }
    protocol->ticks = eg_timed_runs(1u);
    for (uint32_t begin = 0; begin < eg_model.output_bytes; begin += LINE_BYTES) {
        eg_say("x-out-");
        eg_say_unsigned(begin);
        eg_say_byte('-');
        for (uint32_t i = begin; i < eg_model.output_bytes && i < begin + LINE_BYTES; i++) {
            eg_say_hex(eg_model.output[i], 2);
        }
        eg_say_checked_end();
    }
    say_number("x-ticks-", protocol->ticks);
}

static void profile(void)
{
    for (uint32_t begin = 0; begin < eg_model.operators; begin += LINE_TICKS) {
        eg_say("x-prof-");
        eg_say_unsigned(begin);
        for (uint32_t i = begin; i < eg_model.operators && i < begin + LINE_TICKS; i++) {
            eg_say(i == begin ? "-[" : ",");
            eg_say_unsigned(eg_profiled(i));
        }
        eg_say("]");
        eg_say_checked_end();
    }
}

int eg_extension(struct eg_protocol *protocol, const char *command)
{
    const char *arguments = eg_next_word(command);
    if (eg_is_word(command, "x-info")) {
        info();
    } else if (eg_is_word(command, "x-load")) {
        load(protocol, arguments);
    } else if (eg_is_word(command, "x-placed")) {
        placed(protocol);
    } else if (eg_is_word(command, "x-run")) {
        run(protocol);
    } else if (eg_is_word(command, "x-ticks")) {
        say_number("x-ticks-", protocol->ticks);
    } else if (eg_is_word(command, "x-prof")) {
        profile();
    } else if (eg_is_word(command, "x-stack")) {
        say_number("x-stack-", eg_stack_bytes());
    } else if (eg_is_word(command, "x-sync")) {
        uint32_t token = 0;
        if (eg_read_unsigned(&arguments, &token)) {
            say_number("x-sync-", token);
        } else {
            say_failure("x-sync takes a number");
        }
    } else {
#ifdef EG_GENERATION
        return eg_speech(protocol, command);
#else
        return 0;
#endif
    }
    return 1;
}
