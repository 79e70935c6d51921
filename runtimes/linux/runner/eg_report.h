/* How the runner fails: one line on standard error, and an exit status that says who must act. */
#ifndef EG_REPORT_H
#define EG_REPORT_H

#include <stdbool.h>

enum eg_status {
    EG_OK = 0,
    EG_BAD_USAGE = 2,   /* arguments or the tensor file */
    EG_BAD_MODEL = 3,   /* the inference runtime refuses the model or its inputs */
    EG_BAD_RUNTIME = 4, /* the inference runtime is missing or not the one this runner was written for */
    EG_BAD_SYSTEM = 5   /* memory or disk */
};

/* Prints "eg-runner: ..." as one line to standard error and returns `status`, so that callers can return it. */
enum eg_status eg_fail(enum eg_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Returns the status of `call` from the calling function unless it is EG_OK. */
#define EG_TRY(call)                     \
    do {                                 \
        const enum eg_status s = (call); \
        if (s != EG_OK) {                \
            return s;                    \
        }                                \
    } while (0)

#endif
