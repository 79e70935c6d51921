/* ONNX Runtime through its C interface: one table of functions whose order is fixed for ever (the interface only grows
 * at its end), so functions are taken by their place in it and no header of the runtime is needed to compile. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eg_engine.h"

enum { API_VERSION = 17 }; /* offered by ONNX Runtime 1.17 and everything later */

/* Places in the table. */
enum {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    DISABLE_TELEMETRY = 6,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    ENABLE_PROFILING = 14,
    SET_INTRA_OP_THREADS = 24,
    SET_INTER_OP_THREADS = 25,
    INPUT_COUNT = 30,
    OUTPUT_COUNT = 31,
    INPUT_NAME = 36,
    OUTPUT_NAME = 37,
    CREATE_TENSOR_WITH_DATA = 49,
    IS_TENSOR = 50,
    TENSOR_DATA = 51,
    ELEMENT_TYPE = 60,
    AXIS_COUNT = 61,
    AXES = 62,
    TENSOR_TYPE_AND_SHAPE = 65,
    CREATE_CPU_MEMORY_INFO = 69,
    DEFAULT_ALLOCATOR = 78,
    RELEASE_STATUS = 93,
    RELEASE_VALUE = 96,
    RELEASE_TENSOR_INFO = 99,
    END_PROFILING = 110
};

enum { LOGGING_ERROR = 3 };

typedef void (*any_function)(void);
typedef void ort_status; /* NULL: no error */

struct api_base {
    const any_function *(*get_api)(uint32_t version);
    const char *(*version)(void);
};

struct ort {
    const any_function *api;
    void *session;
    void *allocator;
    uint32_t inputs;
    uint32_t outputs;
    const char *input_names[EG_MAX_TENSORS]; /* in the order of the tensor file */
    const char *output_names[EG_MAX_TENSORS];
    void *input_memory[EG_MAX_TENSORS];
    uint64_t input_bytes[EG_MAX_TENSORS];
    void *input_values[EG_MAX_TENSORS];
    void *output_values[EG_MAX_TENSORS];
    bool profiling;
};

/* Calls function PLACE as TYPE; an error becomes a line and the exit status of a refused model. */
#define ORT_CALL(ort, PLACE, TYPE, ...) check((ort), #PLACE, ((ort_status * (*)TYPE)(ort)->api[PLACE])(__VA_ARGS__))

static enum eg_status check(const struct ort *ort, const char *place, ort_status *status) {
    if (status == NULL) {
        return EG_OK;
    }
    const char *text = ((const char *(*)(const ort_status *))ort->api[GET_ERROR_MESSAGE])(status);
    const enum eg_status failed = eg_fail(EG_BAD_MODEL, "onnxruntime, %s: %s", place, text);
    ((void (*)(ort_status *))ort->api[RELEASE_STATUS])(status);
    return failed;
}

/* ONNX element types by our dtype, and back. */
static const int ONNX_TYPES[] = {0, 1, 10, 3, 2, 6, 7, 9, 5, 4, 12, 13, 11};

static enum eg_dtype dtype_of(int onnx_type) {
    for (unsigned i = 1; i < sizeof ONNX_TYPES / sizeof ONNX_TYPES[0]; i++) {
        if (ONNX_TYPES[i] == onnx_type) {
            return (enum eg_dtype)i;
        }
    }
    return (enum eg_dtype)0;
}

static enum eg_status load(const char *path, struct ort *ort, struct eg_engine *engine) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return eg_fail(EG_BAD_RUNTIME, "%s", dlerror());
    }
    const struct api_base *(*get_base)(void) = NULL;
    *(void **)&get_base = dlsym(library, "OrtGetApiBase");
    const struct api_base *base = get_base != NULL ? get_base() : NULL;
    ort->api = base != NULL ? base->get_api(API_VERSION) : NULL;
    if (ort->api == NULL) {
        return eg_fail(EG_BAD_RUNTIME, "%s does not offer ONNX Runtime's C interface, version %d", path, API_VERSION);
    }
    (void)snprintf(engine->version, sizeof engine->version, "%s", base->version());
    return EG_OK;
}

static enum eg_status create_session(struct ort *ort, const struct eg_engine_options *options) {
    void *env = NULL;
    void *settings = NULL;
    EG_TRY(ORT_CALL(ort, CREATE_ENV, (int, const char *, void **), LOGGING_ERROR, "edgegen", &env));
    EG_TRY(ORT_CALL(ort, DISABLE_TELEMETRY, (const void *), env));
    EG_TRY(ORT_CALL(ort, CREATE_SESSION_OPTIONS, (void **), &settings));
    EG_TRY(ORT_CALL(ort, SET_INTRA_OP_THREADS, (void *, int), settings, 1));
    EG_TRY(ORT_CALL(ort, SET_INTER_OP_THREADS, (void *, int), settings, 1));
    if (options->profile_prefix != NULL) {
        ort->profiling = true;
        EG_TRY(ORT_CALL(ort, ENABLE_PROFILING, (void *, const char *), settings, options->profile_prefix));
    }
    options->before_load();
    EG_TRY(ORT_CALL(ort, CREATE_SESSION, (const void *, const char *, const void *, void **), env, options->model, settings,
                 &ort->session));
    return ORT_CALL(ort, DEFAULT_ALLOCATOR, (void **), &ort->allocator);
}

static enum eg_status name_of(struct ort *ort, bool input, size_t index, const char **name) {
    char *text = NULL;
    if (input) {
        EG_TRY(ORT_CALL(ort, INPUT_NAME, (const void *, size_t, void *, char **), ort->session, index, ort->allocator, &text));
    } else {
        EG_TRY(ORT_CALL(ort, OUTPUT_NAME, (const void *, size_t, void *, char **), ort->session, index, ort->allocator, &text));
    }
    *name = text;
    return EG_OK;
}

static enum eg_status read_interface(struct ort *ort, const struct eg_tensors *inputs) {
    size_t count = 0;
    EG_TRY(ORT_CALL(ort, INPUT_COUNT, (const void *, size_t *), ort->session, &count));
    if (count != inputs->count) {
        return eg_fail(EG_BAD_MODEL, "the model has %zu inputs, %u were given", count, inputs->count);
    }
    ort->inputs = inputs->count;
    for (uint32_t i = 0; i < ort->inputs; i++) {
        const char *name = NULL;
        EG_TRY(name_of(ort, true, i, &name));
        uint32_t at = 0;
        while (at < inputs->count && strcmp(inputs->specs[at].name, name) != 0) {
            at++;
        }
        if (at == inputs->count || ort->input_names[at] != NULL) {
            return eg_fail(EG_BAD_MODEL, "no array was given for the model's input %s", name);
        }
        ort->input_names[at] = name;
    }
    EG_TRY(ORT_CALL(ort, OUTPUT_COUNT, (const void *, size_t *), ort->session, &count));
    if (count < 1u || count > EG_MAX_TENSORS) {
        return eg_fail(EG_BAD_MODEL, "the model has %zu outputs, 1 to %d are supported", count, EG_MAX_TENSORS);
    }
    ort->outputs = (uint32_t)count;
    for (uint32_t i = 0; i < ort->outputs; i++) {
        EG_TRY(name_of(ort, false, i, &ort->output_names[i]));
    }
    return EG_OK;
}

static enum eg_status create_inputs(struct ort *ort, const struct eg_tensors *inputs) {
    void *where = NULL;
    EG_TRY(ORT_CALL(ort, CREATE_CPU_MEMORY_INFO, (int, int, void **), 0, 0, &where));
    for (uint32_t i = 0; i < ort->inputs; i++) {
        const struct eg_spec *spec = &inputs->specs[i];
        int64_t axes[EG_MAX_RANK] = {0};
        for (uint32_t axis = 0; axis < spec->rank; axis++) {
            axes[axis] = (int64_t)spec->axes[axis];
        }
        ort->input_bytes[i] = spec->bytes;
        ort->input_memory[i] = eg_aligned(spec->bytes);
        if (ort->input_memory[i] == NULL) {
            return eg_fail(EG_BAD_SYSTEM, "out of memory for the inputs");
        }
        EG_TRY(ORT_CALL(ort, CREATE_TENSOR_WITH_DATA, (const void *, void *, size_t, const int64_t *, size_t, int, void **),
                     where, ort->input_memory[i], (size_t)spec->bytes, axes, (size_t)spec->rank, ONNX_TYPES[spec->dtype],
                     &ort->input_values[i]));
    }
    return EG_OK;
}

static enum eg_status feed(void *state, uint32_t index, const void *sample) {
    struct ort *ort = state;
    memcpy(ort->input_memory[index], sample, (size_t)ort->input_bytes[index]);
    return EG_OK;
}

static enum eg_status prepare(void *state) {
    struct ort *ort = state;
    for (uint32_t i = 0; i < ort->outputs; i++) {
        if (ort->output_values[i] != NULL) {
            ((void (*)(void *))ort->api[RELEASE_VALUE])(ort->output_values[i]);
            ort->output_values[i] = NULL;
        }
    }
    return EG_OK;
}

static enum eg_status run(void *state) {
    struct ort *ort = state;
    return ORT_CALL(ort, RUN,
                    (void *, const void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **),
                    ort->session, NULL, ort->input_names, ort->input_values, (size_t)ort->inputs, ort->output_names,
                    (size_t)ort->outputs, ort->output_values);
}

static enum eg_status output(void *state, uint32_t index, struct eg_spec *spec, const void **data) {
    struct ort *ort = state;
    void *value = ort->output_values[index];
    void *info = NULL;
    int tensor = 0;
    int type = 0;
    size_t rank = 0;
    int64_t axes[EG_MAX_RANK] = {0};
    memset(spec, 0, sizeof *spec);
    if (strlen(ort->output_names[index]) > EG_MAX_NAME || ort->output_names[index][0] == '\0') {
        return eg_fail(EG_BAD_MODEL, "the name of output %u is empty or too long", index);
    }
    strcpy(spec->name, ort->output_names[index]);
    EG_TRY(ORT_CALL(ort, IS_TENSOR, (const void *, int *), value, &tensor));
    if (tensor == 0) {
        return eg_fail(EG_BAD_MODEL, "output %s is not a tensor", spec->name);
    }
    EG_TRY(ORT_CALL(ort, TENSOR_TYPE_AND_SHAPE, (const void *, void **), value, &info));
    EG_TRY(ORT_CALL(ort, ELEMENT_TYPE, (const void *, int *), info, &type));
    EG_TRY(ORT_CALL(ort, AXIS_COUNT, (const void *, size_t *), info, &rank));
    if (rank > EG_MAX_RANK || dtype_of(type) == (enum eg_dtype)0) {
        return eg_fail(EG_BAD_MODEL, "output %s: element type %d or rank %zu is not supported", spec->name, type, rank);
    }
    EG_TRY(ORT_CALL(ort, AXES, (const void *, int64_t *, size_t), info, axes, rank));
    ((void (*)(void *))ort->api[RELEASE_TENSOR_INFO])(info);
    spec->dtype = dtype_of(type);
    spec->rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        spec->axes[i] = (uint64_t)axes[i];
    }
    EG_TRY(eg_spec_complete(spec));
    void *memory = NULL;
    EG_TRY(ORT_CALL(ort, TENSOR_DATA, (void *, void **), value, &memory));
    *data = memory;
    return EG_OK;
}

static enum eg_status finish(void *state) {
    struct ort *ort = state;
    char *path = NULL;
    return ort->profiling
               ? ORT_CALL(ort, END_PROFILING, (void *, void *, char **), ort->session, ort->allocator, &path)
               : EG_OK;
}

enum eg_status eg_ort_open(const struct eg_engine_options *options, struct eg_engine *engine) {
    struct ort *ort = calloc(1, sizeof *ort); /* lives as long as the process */
    if (ort == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory");
    }
    EG_TRY(load(options->library, ort, engine));
    EG_TRY(create_session(ort, options));
    EG_TRY(read_interface(ort, options->inputs));
    EG_TRY(create_inputs(ort, options->inputs));
    engine->runtime = "onnxruntime";
    engine->outputs = ort->outputs;
    engine->state = ort;
    engine->feed = feed;
    engine->prepare = prepare;
    engine->run = run;
    engine->output = output;
    engine->finish = finish;
    return EG_OK;
}
