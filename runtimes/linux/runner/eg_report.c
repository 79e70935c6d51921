#include "eg_report.h"

#include <stdarg.h>
#include <stdio.h>

enum eg_status eg_fail(enum eg_status status, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text[0] = '\0';
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20u) {
            *c = ' '; /* a runtime's message may hold line breaks; ours is one line */
        }
    }
    fprintf(stderr, "eg-runner: %s\n", text);
    return status;
}
