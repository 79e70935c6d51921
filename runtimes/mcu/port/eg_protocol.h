/* MLPerf Tiny's serial protocol (performance mode) as its reference device speaks it, and extensions that begin with x-.
 *
 * The host sends commands ended by '%'; the device answers in lines, the last of which is m-ready. Nothing that arrives
 * is trusted: commands are bounded, and a load is in the input only when all of it has come. */
#ifndef EG_PROTOCOL_H
#define EG_PROTOCOL_H

#include <stdint.h>

#define EG_COMMAND_BYTES 80u

enum eg_loading { EG_NO_LOAD, EG_DB_LOAD, EG_BLOCK_LOAD };

/* All zero at first. */
struct eg_protocol {
    char command[EG_COMMAND_BYTES + 1u];
    uint8_t length;
    uint8_t too_long;
    /* A load that was announced: its bytes go into the input as they come. */
    enum eg_loading loading;
    uint32_t announced;
    uint32_t stored;
    uint32_t crc;      /* that the bytes of a block must have */
    int8_t high_digit; /* -1: none waits for its low one */
    uint8_t in_data;   /* the command is x-data, whose digits are taken without being kept */
    uint8_t bad_digit; /* the first character of it that is no digit; 0: none */
    uint8_t ready;     /* the input is whole */
    /* Of the last timed run. */
    uint64_t ticks;
};

/* What is said at power-up. */
void eg_protocol_greet(void);
/* Takes the next byte from the host; answers when a command ends with it. */
void eg_protocol_take(struct eg_protocol *protocol, uint8_t byte);

/* -1: not a digit. */
int eg_hex_digit(uint8_t character);
/* Whether text begins a decimal number that fits; the number, and where text goes on. */
int eg_read_unsigned(const char **text, uint32_t *value);
/* Where the word after the next blanks begins; an empty string at the end. */
const char *eg_next_word(const char *text);
int eg_is_word(const char *text, const char *word);

/* A digit pair for the input that was announced. */
void eg_protocol_store(struct eg_protocol *protocol, uint8_t byte);

/* One command that begins with x-. 0: there is none of that name. */
int eg_extension(struct eg_protocol *protocol, const char *command);
/* The same of the commands of a model of sequences; there where the model is one (EG_GENERATION). */
int eg_speech(struct eg_protocol *protocol, const char *command);
/* The end of an x-data command. */
void eg_end_of_data(struct eg_protocol *protocol);

/* Ticks of so many inferences. */
uint64_t eg_timed_runs(uint32_t runs);
/* Ticks of the model's read. */
uint64_t eg_timed_read(void);
/* Ticks that timing alone takes. */
uint64_t eg_timed_nothing(void);
/* Ticks at the end of an operator since the last timed run began. */
uint32_t eg_profiled(uint32_t place);

#endif
