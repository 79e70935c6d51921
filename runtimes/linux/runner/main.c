/* eg-runner RUNTIME LIBRARY MODEL INPUTS OUTPUTS RUNS [PROFILE]
 *
 * Loads a model and runs it on one thread.
 *   RUNTIME  onnxruntime | litert
 *   LIBRARY  the runtime's shared library
 *   INPUTS   tensor file (eg_tensors.h), arrays by the names of the model's inputs
 *   OUTPUTS  tensor file that is written
 *   RUNS     0: every sample once (quality); 1..100000: the first sample that many times between markers (cost)
 *   PROFILE  prefix of the runtime's own profile of operators
 * Prints one line of JSON: runtime, version, runs_ns (each inference, the first one apart from load_ns), cold_ns (from
 * the start of the process to the end of the first inference), stream_ns (from there to the end of the last one, with
 * what stands between two), stream_cpu_ns (what of it the process had the processor) and the peak resident size. Times
 * and resident size mean something on a real board only. Exit status: eg_report.h.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "eg_engine.h"
#include "eg_marker.h"

enum { MAX_RUNS = 100000 };

struct job {
    const char *outputs_path;
    uint32_t runs;
    struct eg_tensors inputs;
    struct eg_engine engine;
    struct eg_spec specs[EG_MAX_TENSORS];
    uint64_t *runs_ns;
    uint64_t load_ns;
    uint64_t began_ns; /* when the process began, by the same clock as all times */
    uint64_t cold_ns;
    uint64_t stream_ns;
    uint64_t stream_cpu_ns;
};

static uint64_t read_clock_ns(clockid_t clock) {
    struct timespec t = {0, 0};
    (void)clock_gettime(clock, &t); /* cannot fail on Linux */
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) {
    return read_clock_ns(CLOCK_MONOTONIC);
}

static void mark_before_load(void) {
    EG_MARK_BEFORE_LOAD();
}

static uint64_t peak_resident_bytes(void) {
    char line[256];
    uint64_t kib = 0;
    FILE *stream = fopen("/proc/self/status", "r");
    if (stream == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, stream) != NULL) {
        if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1) {
            break;
        }
    }
    (void)fclose(stream);
    return kib * 1024u;
}

static enum eg_status infer(struct job *job, const unsigned char *sample, uint64_t *elapsed_ns) {
    const struct eg_engine *engine = &job->engine;
    for (uint32_t i = 0; i < job->inputs.count; i++) {
        const enum eg_status fed = engine->feed(engine->state, i, sample);
        if (fed != EG_OK) {
            return fed;
        }
        sample += job->inputs.specs[i].bytes;
    }
    enum eg_status status = engine->prepare(engine->state);
    if (status != EG_OK) {
        return status;
    }
    const uint64_t started = now_ns();
    EG_MARK_BEGIN();
    status = engine->run(engine->state);
    EG_MARK_END();
    *elapsed_ns = now_ns() - started;
    return status;
}

/* Appends the outputs of the last inference; the first sample decides the shapes. */
static enum eg_status write_outputs(struct job *job, FILE *stream, uint32_t sample, uint32_t samples) {
    const void *data[EG_MAX_TENSORS] = {NULL};
    const struct eg_engine *engine = &job->engine;
    for (uint32_t i = 0; i < engine->outputs; i++) {
        struct eg_spec spec;
        const enum eg_status status = engine->output(engine->state, i, &spec, &data[i]);
        if (status != EG_OK) {
            return status;
        }
        if (sample > 0u && (spec.dtype != job->specs[i].dtype || spec.rank != job->specs[i].rank ||
                            memcmp(spec.axes, job->specs[i].axes, sizeof spec.axes) != 0)) {
            return eg_fail(EG_BAD_MODEL, "output %s has another shape for sample %u than for the first", spec.name, sample);
        }
        job->specs[i] = spec;
    }
    if (sample == 0u) {
        const enum eg_status status = eg_tensors_write_header(stream, job->specs, engine->outputs, samples);
        if (status != EG_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < engine->outputs; i++) {
        if (fwrite(data[i], 1, (size_t)job->specs[i].bytes, stream) != (size_t)job->specs[i].bytes) {
            return eg_fail(EG_BAD_SYSTEM, "cannot write %s: %s", job->outputs_path, strerror(errno));
        }
    }
    return EG_OK;
}

static enum eg_status run_job(struct job *job, FILE *stream) {
    const uint32_t inferences = job->runs > 0u ? job->runs : job->inputs.samples;
    uint64_t first_ended_ns = 0;
    uint64_t first_cpu_ns = 0;
    for (uint32_t i = 0; i < inferences; i++) {
        const unsigned char *sample = job->inputs.data + (job->runs > 0u ? 0u : i * job->inputs.sample_bytes);
        enum eg_status status = infer(job, sample, &job->runs_ns[i]);
        if (i == 0u) {
            first_ended_ns = now_ns();
            job->cold_ns = first_ended_ns - job->began_ns;
            first_cpu_ns = read_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        } else if (i + 1u == inferences) {
            job->stream_ns = now_ns() - first_ended_ns;
            job->stream_cpu_ns = read_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - first_cpu_ns;
        }
        if (status == EG_OK && (job->runs == 0u || i + 1u == inferences)) {
            status = write_outputs(job, stream, job->runs > 0u ? 0u : i, job->runs > 0u ? 1u : inferences);
        }
        if (status != EG_OK) {
            return status;
        }
    }
    return job->engine.finish(job->engine.state);
}

static void print_report(const struct job *job) {
    const uint32_t inferences = job->runs > 0u ? job->runs : job->inputs.samples;
    printf("{\"schema_version\":1,\"runtime\":\"%s\",\"version\":\"%s\",\"load_ns\":%" PRIu64
           ",\"cold_ns\":%" PRIu64 ",\"stream_ns\":%" PRIu64 ",\"stream_cpu_ns\":%" PRIu64
           ",\"peak_resident_bytes\":%" PRIu64 ",\"runs_ns\":[",
           job->engine.runtime, job->engine.version, job->load_ns, job->cold_ns, job->stream_ns, job->stream_cpu_ns,
           peak_resident_bytes());
    for (uint32_t i = 0; i < inferences; i++) {
        printf("%s%" PRIu64, i > 0u ? "," : "", job->runs_ns[i]);
    }
    printf("]}\n");
}

static enum eg_status open_engine(int count, char **arguments, struct job *job) {
    const struct eg_engine_options options = {arguments[2], arguments[3], count > 7 ? arguments[7] : NULL, &job->inputs,
                                              mark_before_load};
    if (strcmp(arguments[1], "onnxruntime") == 0) {
        return eg_ort_open(&options, &job->engine);
    }
    if (strcmp(arguments[1], "litert") == 0) {
        return eg_litert_open(&options, &job->engine);
    }
    return eg_fail(EG_BAD_USAGE, "unknown runtime %s", arguments[1]);
}

static enum eg_status parse(int count, char **arguments, struct job *job) {
    if (count < 7 || count > 8) {
        return eg_fail(EG_BAD_USAGE, "usage: eg-runner RUNTIME LIBRARY MODEL INPUTS OUTPUTS RUNS [PROFILE]");
    }
    char *end = NULL;
    errno = 0;
    const long runs = strtol(arguments[6], &end, 10);
    if (errno != 0 || end == arguments[6] || *end != '\0' || runs < 0 || runs > MAX_RUNS) {
        return eg_fail(EG_BAD_USAGE, "RUNS is 0 to %d, not %s", MAX_RUNS, arguments[6]);
    }
    job->runs = (uint32_t)runs;
    job->outputs_path = arguments[5];
    return eg_tensors_read(arguments[4], &job->inputs);
}

static enum eg_status perform(int count, char **arguments, struct job *job) {
    enum eg_status status = parse(count, arguments, job);
    if (status != EG_OK) {
        return status;
    }
    job->runs_ns = calloc(job->runs > 0u ? job->runs : job->inputs.samples, sizeof *job->runs_ns);
    if (job->runs_ns == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory");
    }
    const uint64_t started = now_ns();
    status = open_engine(count, arguments, job);
    job->load_ns = now_ns() - started;
    if (status != EG_OK) {
        return status;
    }
    FILE *stream = fopen(job->outputs_path, "wb");
    if (stream == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "cannot open %s: %s", job->outputs_path, strerror(errno));
    }
    status = run_job(job, stream);
    if (fclose(stream) != 0 && status == EG_OK) {
        status = eg_fail(EG_BAD_SYSTEM, "cannot write %s: %s", job->outputs_path, strerror(errno));
    }
    return status;
}

int main(int count, char **arguments) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return (int)eg_fail(EG_BAD_SYSTEM, "out of memory");
    }
    /* What the process computed so far was its start: loading it and its libraries. */
    job->began_ns = now_ns() - read_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    enum eg_status status = perform(count, arguments, job);
    if (status == EG_OK) {
        print_report(job);
    }
    if (fflush(stdout) != 0 && status == EG_OK) {
        status = eg_fail(EG_BAD_SYSTEM, "cannot write the report: %s", strerror(errno));
    }
    _exit((int)status); /* the runtimes' own tear-down takes long and has nothing left to do */
}
