/* LiteRT through the C interface that libLiteRt.so exports (the compiled-model interface), on the CPU (XNNPACK) with
 * one thread. The prototypes below are this file's own statement of the part that is used, for LiteRT 2.1.6 to 2.3;
 * LiteRT ships no headers with its library. The model's first signature is run. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eg_engine.h"
#include "eg_litert_profile.h"

enum { ACCELERATOR_CPU = 1, LOCK_READ = 0, LOCK_WRITE = 1, SIGNATURE = 0, MAX_RANK = 8 };

/* The payload that LiteRT's CPU accelerator reads its settings from, found by its identifier. */
static const char CPU_OPTIONS_ID[] = "xnnpack";
static const char CPU_OPTIONS[] = "num_threads = 1\n";

/* A ranked tensor type as LiteRT lays it out: 72 bytes. */
struct ranked_type {
    int32_t element_type;
    uint32_t rank_and_flags; /* low 7 bits: the rank; bit 7: strides are given */
    int32_t axes[MAX_RANK];
    uint32_t strides[MAX_RANK];
};

typedef int status_t; /* 0: no error */

struct api {
    status_t (*create_environment)(int, const void *, void **);
    status_t (*create_model)(void *environment, const char *path, void **);
    status_t (*create_options)(void **);
    status_t (*set_accelerators)(void *options, int);
    status_t (*create_opaque)(const char *id, void *payload, void (*destroy)(void *), void **);
    status_t (*add_opaque)(void *options, void *opaque);
    status_t (*compile)(void *environment, void *model, void *options, void **);
    status_t (*signature)(void *model, size_t, void **);
    status_t (*input_count)(void *signature, size_t *);
    status_t (*output_count)(void *signature, size_t *);
    status_t (*input_name)(void *signature, size_t, const char **);
    status_t (*output_name)(void *signature, size_t, const char **);
    status_t (*input_tensor)(void *signature, size_t, void **);
    status_t (*output_tensor)(void *signature, size_t, void **);
    status_t (*tensor_name)(void *tensor, const char **);
    status_t (*tensor_type)(void *tensor, struct ranked_type *);
    status_t (*input_needs)(void *compiled, size_t signature, size_t, void **);
    status_t (*output_needs)(void *compiled, size_t signature, size_t, void **);
    status_t (*create_buffer)(void *environment, const struct ranked_type *, void *needs, void **);
    status_t (*lock)(void *buffer, void **, int);
    status_t (*unlock)(void *buffer);
    status_t (*run)(void *compiled, size_t signature, size_t inputs, void **, size_t outputs, void **);
};

struct litert {
    struct api api;
    void *library;
    struct eg_litert_profile profile;
    void *environment;
    void *model;
    void *compiled;
    void *signature;
    size_t inputs;
    size_t outputs;
    void *input_buffers[EG_MAX_TENSORS];       /* in the order of the signature */
    size_t input_of_tensor[EG_MAX_TENSORS];    /* file tensor -> input of the signature */
    uint64_t tensor_bytes[EG_MAX_TENSORS];     /* by file tensor */
    void *output_buffers[EG_MAX_TENSORS];
    struct eg_spec output_specs[EG_MAX_TENSORS];
    void *output_copies[EG_MAX_TENSORS];
};

#define CALL(litert, name, ...) check(#name, (litert)->api.name(__VA_ARGS__))

static enum eg_status check(const char *step, status_t status) {
    return status == 0 ? EG_OK : eg_fail(EG_BAD_MODEL, "litert, %s: status %d", step, status);
}

/* LiteRT's element types by our dtype. */
static const int32_t LITERT_TYPES[] = {0, 1, 10, 9, 3, 2, 4, 6, 7, 17, 16, 13, 11};

static enum eg_status load(const char *path, struct api *api, void **library_handle) {
    const struct {
        const char *symbol;
        void *function;
    } wanted[] = {
        {"LiteRtCreateEnvironment", &api->create_environment},
        {"LiteRtCreateModelFromFile", &api->create_model},
        {"LiteRtCreateOptions", &api->create_options},
        {"LiteRtSetOptionsHardwareAccelerators", &api->set_accelerators},
        {"LiteRtCreateOpaqueOptions", &api->create_opaque},
        {"LiteRtAddOpaqueOptions", &api->add_opaque},
        {"LiteRtCreateCompiledModel", &api->compile},
        {"LiteRtGetModelSignature", &api->signature},
        {"LiteRtGetNumSignatureInputs", &api->input_count},
        {"LiteRtGetNumSignatureOutputs", &api->output_count},
        {"LiteRtGetSignatureInputName", &api->input_name},
        {"LiteRtGetSignatureOutputName", &api->output_name},
        {"LiteRtGetSignatureInputTensorByIndex", &api->input_tensor},
        {"LiteRtGetSignatureOutputTensorByIndex", &api->output_tensor},
        {"LiteRtGetTensorName", &api->tensor_name},
        {"LiteRtGetRankedTensorType", &api->tensor_type},
        {"LiteRtGetCompiledModelInputBufferRequirements", &api->input_needs},
        {"LiteRtGetCompiledModelOutputBufferRequirements", &api->output_needs},
        {"LiteRtCreateManagedTensorBufferFromRequirements", &api->create_buffer},
        {"LiteRtLockTensorBuffer", &api->lock},
        {"LiteRtUnlockTensorBuffer", &api->unlock},
        {"LiteRtRunCompiledModel", &api->run},
    };
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return eg_fail(EG_BAD_RUNTIME, "%s", dlerror());
    }
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        void *symbol = dlsym(library, wanted[i].symbol);
        if (symbol == NULL) {
            return eg_fail(EG_BAD_RUNTIME, "%s lacks %s", path, wanted[i].symbol);
        }
        memcpy(wanted[i].function, &symbol, sizeof symbol);
    }
    *library_handle = library;
    return EG_OK;
}

static void keep(void *payload) {
    (void)payload; /* the settings are a constant of this file */
}

static enum eg_status add_settings(struct litert *litert, void *settings, const char *id, const char *text) {
    void *opaque = NULL;
    char *payload = strdup(text);
    if (payload == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory");
    }
    EG_TRY(CALL(litert, create_opaque, id, payload, keep, &opaque));
    return CALL(litert, add_opaque, settings, opaque);
}

static enum eg_status compile(struct litert *litert, const struct eg_engine_options *options) {
    const char *prefix = options->profile_prefix;
    void *settings = NULL;
    EG_TRY(CALL(litert, create_environment, 0, NULL, &litert->environment));
    EG_TRY(CALL(litert, create_options, &settings));
    EG_TRY(CALL(litert, set_accelerators, settings, ACCELERATOR_CPU));
    EG_TRY(add_settings(litert, settings, CPU_OPTIONS_ID, CPU_OPTIONS));
    if (prefix != NULL) {
        EG_TRY(add_settings(litert, settings, EG_LITERT_PROFILE_OPTIONS_ID, EG_LITERT_PROFILE_OPTIONS));
    }
    options->before_load();
    EG_TRY(CALL(litert, create_model, litert->environment, options->model, &litert->model));
    EG_TRY(CALL(litert, compile, litert->environment, litert->model, settings, &litert->compiled));
    if (prefix != NULL) {
        EG_TRY(eg_litert_profile_open(&litert->profile, litert->library, litert->compiled, prefix));
    }
    return CALL(litert, signature, litert->model, SIGNATURE, &litert->signature);
}

/* Our description of a LiteRT tensor. A type or rank that the tensor file cannot hold refuses the model. */
static enum eg_status describe(const struct ranked_type *type, const char *name, struct eg_spec *spec) {
    memset(spec, 0, sizeof *spec);
    if (name == NULL || name[0] == '\0' || strlen(name) > EG_MAX_NAME) {
        return eg_fail(EG_BAD_MODEL, "a tensor's name is empty or too long");
    }
    strcpy(spec->name, name);
    for (unsigned dtype = 1; dtype < sizeof LITERT_TYPES / sizeof LITERT_TYPES[0]; dtype++) {
        if (LITERT_TYPES[dtype] == type->element_type) {
            spec->dtype = (enum eg_dtype)dtype;
        }
    }
    spec->rank = type->rank_and_flags & 0x7Fu;
    if (spec->dtype == (enum eg_dtype)0 || spec->rank > MAX_RANK) {
        return eg_fail(EG_BAD_MODEL, "tensor %s: element type %d or rank %u is not supported", name, type->element_type,
                       spec->rank);
    }
    for (uint32_t i = 0; i < spec->rank; i++) {
        if (type->axes[i] < 1) {
            return eg_fail(EG_BAD_MODEL, "tensor %s has a dynamic axis", name);
        }
        spec->axes[i] = (uint64_t)type->axes[i];
    }
    return eg_spec_complete(spec);
}

/* An array is given by the name in the signature or by that of the tensor; one input may be given by any name. */
static enum eg_status find_array(const struct eg_tensors *files, const char *name, const char *tensor_name, uint32_t *at) {
    for (uint32_t i = 0; i < files->count; i++) {
        if (files->count == 1u || strcmp(files->specs[i].name, name) == 0 || strcmp(files->specs[i].name, tensor_name) == 0) {
            *at = i;
            return EG_OK;
        }
    }
    return eg_fail(EG_BAD_MODEL, "no array was given for the model's input %s (%s)", name, tensor_name);
}

static enum eg_status open_input(struct litert *litert, const struct eg_tensors *files, size_t index) {
    const char *name = NULL;
    const char *tensor_name = NULL;
    void *tensor = NULL;
    void *needs = NULL;
    struct ranked_type type;
    struct eg_spec spec;
    uint32_t at = 0;
    memset(&type, 0, sizeof type);
    EG_TRY(CALL(litert, input_name, litert->signature, index, &name));
    EG_TRY(CALL(litert, input_tensor, litert->signature, index, &tensor));
    EG_TRY(CALL(litert, tensor_name, tensor, &tensor_name));
    EG_TRY(CALL(litert, tensor_type, tensor, &type));
    EG_TRY(describe(&type, name, &spec));
    EG_TRY(find_array(files, name, tensor_name, &at));
    const struct eg_spec *given = &files->specs[at];
    if (given->dtype != spec.dtype || given->rank != spec.rank || memcmp(given->axes, spec.axes, sizeof spec.axes) != 0) {
        return eg_fail(EG_BAD_MODEL, "the array for input %s has another type or shape than the model's input", name);
    }
    if (litert->tensor_bytes[at] != 0u) {
        return eg_fail(EG_BAD_MODEL, "two inputs of the model take the array %s", given->name);
    }
    litert->tensor_bytes[at] = spec.bytes;
    litert->input_of_tensor[at] = index;
    EG_TRY(CALL(litert, input_needs, litert->compiled, SIGNATURE, index, &needs));
    return CALL(litert, create_buffer, litert->environment, &type, needs, &litert->input_buffers[index]);
}

static enum eg_status open_output(struct litert *litert, size_t index) {
    const char *name = NULL;
    void *tensor = NULL;
    void *needs = NULL;
    struct ranked_type type;
    memset(&type, 0, sizeof type);
    EG_TRY(CALL(litert, output_name, litert->signature, index, &name));
    EG_TRY(CALL(litert, output_tensor, litert->signature, index, &tensor));
    EG_TRY(CALL(litert, tensor_type, tensor, &type));
    EG_TRY(describe(&type, name, &litert->output_specs[index]));
    litert->output_copies[index] = eg_aligned(litert->output_specs[index].bytes);
    if (litert->output_copies[index] == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory for the outputs");
    }
    EG_TRY(CALL(litert, output_needs, litert->compiled, SIGNATURE, index, &needs));
    return CALL(litert, create_buffer, litert->environment, &type, needs, &litert->output_buffers[index]);
}

static enum eg_status open_tensors(struct litert *litert, const struct eg_tensors *files) {
    EG_TRY(CALL(litert, input_count, litert->signature, &litert->inputs));
    EG_TRY(CALL(litert, output_count, litert->signature, &litert->outputs));
    if (litert->inputs != files->count) {
        return eg_fail(EG_BAD_MODEL, "the model has %zu inputs, %u were given", litert->inputs, files->count);
    }
    if (litert->outputs < 1u || litert->outputs > EG_MAX_TENSORS) {
        return eg_fail(EG_BAD_MODEL, "the model has %zu outputs, 1 to %d are supported", litert->outputs, EG_MAX_TENSORS);
    }
    for (size_t i = 0; i < litert->inputs; i++) {
        EG_TRY(open_input(litert, files, i));
    }
    for (size_t i = 0; i < litert->outputs; i++) {
        EG_TRY(open_output(litert, i));
    }
    return EG_OK;
}

static enum eg_status feed(void *state, uint32_t index, const void *sample) {
    struct litert *litert = state;
    void *buffer = litert->input_buffers[litert->input_of_tensor[index]];
    void *memory = NULL;
    EG_TRY(CALL(litert, lock, buffer, &memory, LOCK_WRITE));
    memcpy(memory, sample, (size_t)litert->tensor_bytes[index]);
    return CALL(litert, unlock, buffer);
}

static enum eg_status prepare(void *state) {
    const struct litert *litert = state;
    return eg_litert_profile_begin(&litert->profile); /* the output buffers are written over */
}

static enum eg_status run(void *state) {
    struct litert *litert = state;
    return CALL(litert, run, litert->compiled, SIGNATURE, litert->inputs, litert->input_buffers, litert->outputs,
                litert->output_buffers);
}

static enum eg_status output(void *state, uint32_t index, struct eg_spec *spec, const void **data) {
    struct litert *litert = state;
    void *memory = NULL;
    *spec = litert->output_specs[index];
    EG_TRY(CALL(litert, lock, litert->output_buffers[index], &memory, LOCK_READ));
    memcpy(litert->output_copies[index], memory, (size_t)spec->bytes);
    *data = litert->output_copies[index];
    return CALL(litert, unlock, litert->output_buffers[index]);
}

static enum eg_status finish(void *state) {
    const struct litert *litert = state;
    return eg_litert_profile_write(&litert->profile);
}

enum eg_status eg_litert_open(const struct eg_engine_options *options, struct eg_engine *engine) {
    struct litert *litert = calloc(1, sizeof *litert); /* lives as long as the process */
    if (litert == NULL) {
        return eg_fail(EG_BAD_SYSTEM, "out of memory");
    }
    EG_TRY(load(options->library, &litert->api, &litert->library));
    EG_TRY(compile(litert, options));
    EG_TRY(open_tensors(litert, options->inputs));
    engine->runtime = "litert";
    (void)snprintf(engine->version, sizeof engine->version, "unknown"); /* the library does not state it */
    engine->outputs = (uint32_t)litert->outputs;
    engine->state = litert;
    engine->feed = feed;
    engine->prepare = prepare;
    engine->run = run;
    engine->output = output;
    engine->finish = finish;
    return EG_OK;
}
