#include "eg_litert_profile.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EVENTS = 1000000 };

const char EG_LITERT_PROFILE_OPTIONS_ID[] = "runtime_options_string";
const char EG_LITERT_PROFILE_OPTIONS[] = "enable_profiling = true\n";

/* An event as LiteRT 2.3 lays it out: 104 bytes. */
struct event {
    const char *tag;
    int32_t type;
    uint64_t start_us;
    uint64_t elapsed_us;
    uint64_t memory[6];
    int64_t index; /* of the operator, in the model or in its part of it */
    int64_t more;
    int32_t source;
};

static enum eg_status check(const char *step, int status) {
    return status == 0 ? EG_OK : eg_fail(EG_BAD_RUNTIME, "litert, %s: status %d", step, status);
}

enum eg_status eg_litert_profile_open(struct eg_litert_profile *profile, void *library, void *compiled, const char *prefix) {
    int (*find)(void *, void **) = NULL;
    const struct {
        const char *symbol;
        void *function;
    } wanted[] = {
        {"LiteRtCompiledModelGetProfiler", &find},
        {"LiteRtStartProfiler", &profile->start},
        {"LiteRtResetProfiler", &profile->reset},
        {"LiteRtGetNumProfilerEvents", &profile->count},
        {"LiteRtGetProfilerEvents", &profile->events},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        void *symbol = dlsym(library, wanted[i].symbol);
        if (symbol == NULL) {
            return eg_fail(EG_BAD_RUNTIME, "this LiteRT lacks %s", wanted[i].symbol);
        }
        memcpy(wanted[i].function, &symbol, sizeof symbol);
    }
    EG_TRY(check("find the profiler", find(compiled, &profile->profiler)));
    if (profile->profiler == NULL) {
        return eg_fail(EG_BAD_RUNTIME, "this LiteRT keeps no profile");
    }
    profile->prefix = prefix;
    return EG_OK;
}

enum eg_status eg_litert_profile_begin(const struct eg_litert_profile *profile) {
    if (profile->prefix == NULL) {
        return EG_OK;
    }
    EG_TRY(check("reset the profiler", profile->reset(profile->profiler)));
    return check("start the profiler", profile->start(profile->profiler));
}

static void write_event(const struct event *event, bool first, FILE *stream) {
    fprintf(stream, "%s\n{\"tag\":\"", first ? "" : ",");
    for (const char *c = event->tag; *c != '\0'; c++) {
        const bool plain = (unsigned char)*c >= 0x20u && (unsigned char)*c < 0x7Fu && *c != '"' && *c != '\\';
        (void)fputc(plain ? *c : '?', stream);
    }
    fprintf(stream, "\",\"type\":%" PRId32 ",\"start_us\":%" PRIu64 ",\"elapsed_us\":%" PRIu64 ",\"index\":%" PRId64 "}",
            event->type, event->start_us, event->elapsed_us, event->index);
}

enum eg_status eg_litert_profile_write(const struct eg_litert_profile *profile) {
    char path[256];
    int count = 0;
    if (profile->prefix == NULL) {
        return EG_OK;
    }
    EG_TRY(check("count the events", profile->count(profile->profiler, &count)));
    if (count < 1 || count > MAX_EVENTS) {
        return eg_fail(EG_BAD_RUNTIME, "a profile of %d events", count);
    }
    struct event *events = calloc((size_t)count, sizeof *events);
    if (events == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory for the profile");
    }
    EG_TRY(check("read the events", profile->events(profile->profiler, count, events)));
    (void)snprintf(path, sizeof path, "%s.json", profile->prefix);
    FILE *stream = fopen(path, "w");
    if (stream == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    }
    (void)fputc('[', stream);
    for (int i = 0; i < count; i++) {
        write_event(&events[i], i == 0, stream);
    }
    fprintf(stream, "\n]\n");
    free(events);
    return fclose(stream) == 0 ? EG_OK : eg_fail(EG_BAD_SYSTEM, "cannot write %s: %s", path, strerror(errno));
}
