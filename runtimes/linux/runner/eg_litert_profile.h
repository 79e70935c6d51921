/* LiteRT's profile of operators, for a run that is made for it alone. */
#ifndef EG_LITERT_PROFILE_H
#define EG_LITERT_PROFILE_H

#include "eg_report.h"

struct eg_litert_profile {
    const char *prefix; /* of the file; NULL: no profile is kept */
    void *profiler;
    int (*start)(void *profiler);
    int (*reset)(void *profiler);
    int (*count)(void *profiler, int *events);
    int (*events)(void *profiler, int count, void *events);
};

/* What the model must be compiled with: an identifier and its settings. */
extern const char EG_LITERT_PROFILE_OPTIONS_ID[];
extern const char EG_LITERT_PROFILE_OPTIONS[];

/* Finds the profiler of a compiled model; `library` is LiteRT's handle. */
enum eg_status eg_litert_profile_open(struct eg_litert_profile *profile, void *library, void *compiled, const char *prefix);

/* Forgets what was noted, to be called before every inference. */
enum eg_status eg_litert_profile_begin(const struct eg_litert_profile *profile);

/* Writes the events of the last inference as a JSON list into PREFIX.json. */
enum eg_status eg_litert_profile_write(const struct eg_litert_profile *profile);

#endif
