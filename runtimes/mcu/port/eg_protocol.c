#include "eg_protocol.h"

#include "eg_model.h"
#include "eg_port.h"
#include "eg_text.h"

#define DEFAULT_RUNS 1u
#define DEFAULT_WARM_UPS 10u
#define MOST_RUNS 1000000u

static const char data_command[] = "x-data ";

int eg_hex_digit(uint8_t character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    const uint8_t lower = (uint8_t)(character | 0x20u);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int eg_read_unsigned(const char **text, uint32_t *value)
{
    uint32_t read = 0;
    const char *at = *text;
    while (*at >= '0' && *at <= '9') {
        const uint32_t digit = (uint32_t)(*at - '0');
        if (read > (0xffffffffu - digit) / 10u) {
            return 0;
        }
        read = read * 10u + digit;
        at++;
    }
    if (at == *text || (*at != ' ' && *at != '\0')) {
        return 0;
    }
    *text = at;
    *value = read;
    return 1;
}

const char *eg_next_word(const char *text)
{
    while (*text != ' ' && *text != '\0') {
        text++;
    }
    while (*text == ' ') {
        text++;
    }
    return text;
}

int eg_is_word(const char *text, const char *word)
{
    while (*word != '\0' && *text == *word) {
        text++;
        word++;
    }
    return *word == '\0' && (*text == ' ' || *text == '\0');
}

void eg_protocol_store(struct eg_protocol *protocol, uint8_t byte)
{
    if (protocol->stored < protocol->announced && protocol->stored < eg_model.input_bytes) {
        eg_model.input[protocol->stored] = byte;
    }
    if (protocol->stored != 0xffffffffu) {
        protocol->stored++;
    }
}

static void say_lap(uint64_t ticks)
{
    eg_say("m-lap-us-");
    eg_say_unsigned(ticks / EG_COUNTER_HZ * 1000000u + ticks % EG_COUNTER_HZ * 1000000u / EG_COUNTER_HZ);
    eg_say_end();
}

static void say_value(const struct eg_output *output, uint32_t place)
{
    const uint8_t *block = eg_model.output + output->offset;
    int64_t stored = 0;
    switch (output->type) {
    case EG_INT8:
        stored = ((const int8_t *)block)[place];
        break;
    case EG_UINT8:
        stored = block[place];
        break;
    case EG_INT16:
        stored = ((const int16_t *)(const void *)block)[place];
        break;
    case EG_INT32:
        stored = ((const int32_t *)(const void *)block)[place];
        break;
    case EG_FLOAT32:
    default:
        break;
    }
#ifdef EG_FLOAT_OUTPUTS
    if (output->type == EG_FLOAT32) {
        const float value = ((const float *)(const void *)block)[place];
        const float most = 9.0e12f; /* millionths of it fit 63 bits */
        const float bounded = value > most ? most : value < -most ? -most : value == value ? value : 0.0f;
        eg_say_millionths((int64_t)(bounded * 1.0e6f));
        return;
    }
#endif
    eg_say_millionths(((stored - output->zero_point) * output->numerator) >> output->shift);
}

static void say_results(void)
{
    eg_say("m-results-[");
    for (uint32_t i = 0; i < eg_model.output_count; i++) {
        for (uint32_t place = 0; place < eg_model.outputs[i].elements; place++) {
            if (i + place > 0u) {
                eg_say_byte(',');
            }
            say_value(&eg_model.outputs[i], place);
        }
    }
    eg_say("]");
    eg_say_end();
}

static void say_error(const char *before, const char *shown, const char *after)
{
    eg_say("e-[");
    eg_say(before);
    eg_say(shown);
    eg_say(after);
    eg_say("]");
    eg_say_end();
}

static void infer(struct eg_protocol *protocol, const char *arguments)
{
    uint32_t runs = DEFAULT_RUNS, warm_ups = DEFAULT_WARM_UPS;
    if (*arguments != '\0' && (!eg_read_unsigned(&arguments, &runs) ||
                               (*(arguments = eg_next_word(arguments)) != '\0' && !eg_read_unsigned(&arguments, &warm_ups)))) {
        say_error("infer takes two numbers", "", "");
        return;
    }
    if (runs > MOST_RUNS || warm_ups > MOST_RUNS) {
        say_error("infer takes at most a million runs", "", "");
        return;
    }
    eg_say("m-warmup-start-");
    eg_say_unsigned(warm_ups);
    eg_say_end();
    for (uint32_t i = 0; i < warm_ups; i++) {
        eg_model.run();
    }
    eg_say("m-warmup-done");
    eg_say_end();
    eg_say("m-infer-start-");
    eg_say_unsigned(runs);
    eg_say_end();
    /* The first lap is zero by definition: the counter starts anew at every timed run. */
    say_lap(0);
    protocol->ticks = eg_timed_runs(runs);
    say_lap(protocol->ticks);
    eg_say("m-infer-done");
    eg_say_end();
    say_results();
}

static void db_load(struct eg_protocol *protocol, const char *arguments)
{
    uint32_t bytes = 0;
    protocol->loading = EG_NO_LOAD;
    protocol->ready = 0;
    if (!eg_read_unsigned(&arguments, &bytes) || bytes == 0u) {
        say_error("Command 'db load' must be >0 bytes", "", "");
        return;
    }
    if (bytes > eg_model.input_bytes) {
        eg_say("Supplied buffer size ");
        eg_say_unsigned(bytes);
        eg_say(" exceeds maximum of ");
        eg_say_unsigned(eg_model.input_bytes);
        eg_say_end();
        return;
    }
    protocol->loading = EG_DB_LOAD;
    protocol->announced = bytes;
    protocol->stored = 0;
    eg_say("m-[Expecting ");
    eg_say_unsigned(bytes);
    eg_say(" bytes]");
    eg_say_end();
}

static void db_print(const struct eg_protocol *protocol)
{
    const uint32_t bytes = protocol->announced < eg_model.input_bytes ? protocol->announced : eg_model.input_bytes;
    for (uint32_t begin = 0; begin < bytes; begin += 8u) {
        eg_say("m-buffer");
        for (uint32_t i = begin; i < bytes && i < begin + 8u; i++) {
            eg_say_byte('-');
            eg_say_hex(eg_model.input[i], 2);
        }
        eg_say_end();
    }
}

static void db_digits(struct eg_protocol *protocol, const char *digits)
{
    if (protocol->loading != EG_DB_LOAD) {
        say_error("Unknown db command", "", "");
        return;
    }
    for (; protocol->stored < protocol->announced && digits[0] != '\0' && digits[0] != ' '; digits += 2) {
        if (digits[1] == '\0' || digits[1] == ' ') {
            say_error("Insufficent number of hex digits", "", "");
            return;
        }
        const int high = eg_hex_digit((uint8_t)digits[0]), low = eg_hex_digit((uint8_t)digits[1]);
        if (high < 0 || low < 0) {
            const char pair[3] = {digits[0], digits[1], '\0'};
            say_error("Invalid hex digit '", pair, "'");
            return;
        }
        eg_protocol_store(protocol, (uint8_t)(16 * high + low));
    }
    if (protocol->stored == protocol->announced) {
        protocol->loading = EG_NO_LOAD;
        protocol->ready = 1;
        eg_say("m-load-done");
        eg_say_end();
    }
}

static void help(void)
{
    eg_say("name profile timestamp help db infer results; x-info x-load x-data x-placed x-run x-ticks x-prof x-stack x-sync");
    eg_say_end();
}

static void dispatch(struct eg_protocol *protocol)
{
    const char *command = protocol->command;
    while (*command == ' ' || *command == '\r' || *command == '\n') {
        command++;
    }
    const char *arguments = eg_next_word(command);
    if (eg_is_word(command, "name")) {
        eg_say("m-name-dut-[edgegen]");
        eg_say_end();
    } else if (eg_is_word(command, "profile")) {
        eg_say("m-profile-[ULPMark for tinyML Firmware V0.0.1]");
        eg_say_end();
        eg_say("m-model-[");
        eg_say(eg_model.name);
        eg_say("]");
        eg_say_end();
    } else if (eg_is_word(command, "timestamp")) {
        say_lap(eg_counter_read());
    } else if (eg_is_word(command, "help")) {
        help();
    } else if (eg_is_word(command, "infer")) {
        infer(protocol, arguments);
    } else if (eg_is_word(command, "results")) {
        say_results();
    } else if (eg_is_word(command, "db")) {
        if (eg_is_word(arguments, "load")) {
            db_load(protocol, eg_next_word(arguments));
        } else if (eg_is_word(arguments, "print")) {
            db_print(protocol);
        } else {
            db_digits(protocol, arguments);
        }
    } else if (!eg_extension(protocol, command)) {
        say_error("Unknown command: ", command, "");
    }
}

static void say_ready(void)
{
    eg_say("m-ready");
    eg_say_end();
}

void eg_protocol_greet(void)
{
    eg_say("m-timestamp-mode-performance");
    eg_say_end();
    say_lap(eg_counter_read());
    eg_say("m-init-done");
    eg_say_end();
    say_ready();
}

static void take_digit(struct eg_protocol *protocol, uint8_t byte)
{
    const int digit = eg_hex_digit(byte);
    if (digit < 0) {
        if (protocol->bad_digit == 0u) {
            protocol->bad_digit = byte == 0u ? (uint8_t)'?' : byte;
        }
    } else if (protocol->high_digit < 0) {
        protocol->high_digit = (int8_t)digit;
    } else {
        eg_protocol_store(protocol, (uint8_t)(16 * protocol->high_digit + digit));
        protocol->high_digit = -1;
    }
}

void eg_protocol_take(struct eg_protocol *protocol, uint8_t byte)
{
    if (byte == '%') {
        if (protocol->in_data != 0u) {
            eg_end_of_data(protocol);
        } else if (protocol->too_long != 0u) {
            say_error("Command is too long", "", "");
        } else {
            protocol->command[protocol->length] = '\0';
            dispatch(protocol);
        }
        protocol->length = protocol->too_long = protocol->in_data = 0u;
        say_ready();
        return;
    }
    if (protocol->in_data != 0u) {
        take_digit(protocol, byte);
        return;
    }
    if (protocol->length == EG_COMMAND_BYTES) {
        protocol->too_long = 1u;
        return;
    }
    /* What is shown of a command must be text. */
    protocol->command[protocol->length++] = byte >= ' ' && byte < 0x7fu ? (char)byte : byte == '\r' || byte == '\n' ? ' ' : '?';
    if (protocol->length == sizeof data_command - 1u && eg_is_word(protocol->command, "x-data") && byte == ' ') {
        protocol->in_data = 1u;
        protocol->high_digit = -1;
        protocol->bad_digit = 0u;
    }
}
