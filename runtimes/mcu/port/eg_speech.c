/* The commands of a model of sequences: x-reset, x-read, x-gen. */
#include "eg_generation.h"
#include "eg_protocol.h"
#include "eg_text.h"

#define MOST_TOKENS 1000000u

static void say_line(const char *name, uint64_t value)
{
    eg_say(name);
    eg_say_unsigned(value);
    eg_say_checked_end();
}

static int refuse(const char *why)
{
    eg_say("e-[");
    eg_say(why);
    eg_say("]");
    eg_say_end();
    return 1;
}

static int read_tokens(struct eg_protocol *protocol, const char *arguments)
{
    uint32_t token = 0;
    /* All of them are looked at before one is read. */
    for (const char *at = arguments; *at != '\0'; at = eg_next_word(at)) {
        if (!eg_read_unsigned(&at, &token) || token >= eg_generation.vocabulary) {
            return refuse("x-read takes tokens of the vocabulary");
        }
    }
    for (; *arguments != '\0'; arguments = eg_next_word(arguments)) {
        if (eg_read_unsigned(&arguments, &token)) {
            protocol->ticks += eg_read_token(token);
        }
    }
    say_line("x-read-", eg_tokens_read());
    return 1;
}

static int speak(struct eg_protocol *protocol, const char *arguments)
{
    uint32_t numbers[3];
    for (unsigned i = 0; i < 3u; i++) {
        if (!eg_read_unsigned(&arguments, &numbers[i])) {
            return refuse("x-gen takes a number of tokens, a seed and a ratio");
        }
        arguments = eg_next_word(arguments);
    }
    if (eg_tokens_read() == 0u || numbers[0] > MOST_TOKENS) {
        return refuse("x-gen follows at least one token that was read, and writes at most a million");
    }
    for (uint32_t i = 0; i < numbers[0]; i++) {
        protocol->ticks += eg_score();
        const uint32_t token = eg_choose(numbers[2], numbers[1], i);
        say_line("x-token-", token);
        if (i + 1u < numbers[0]) {
            protocol->ticks += eg_read_token(token);
        }
    }
    say_line("x-ticks-", protocol->ticks);
    return 1;
}

int eg_speech(struct eg_protocol *protocol, const char *command)
{
    const char *arguments = eg_next_word(command);
    if (eg_is_word(command, "x-read")) {
        return read_tokens(protocol, arguments);
    }
    if (eg_is_word(command, "x-gen")) {
        return speak(protocol, arguments);
    }
    if (eg_is_word(command, "x-reset")) {
        eg_forget();
        protocol->ticks = 0;
        protocol->ready = 0;
        say_line("x-read-", 0);
        return 1;
    }
    return 0;
}
