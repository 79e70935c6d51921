/* An inference runtime that has loaded one model, on one thread. */
#ifndef EG_ENGINE_H
#define EG_ENGINE_H

#include "eg_report.h"
#include "eg_tensors.h"

struct eg_engine {
    const char *runtime;  /* its name */
    char version[64];     /* as the library states it, or "unknown" */
    uint32_t outputs;
    void *state;

    /* Copies the model's input for file tensor `index` of one sample, `bytes` long as its spec says. */
    enum eg_status (*feed)(void *state, uint32_t index, const void *sample);
    /* Forgets the outputs of the last run; to be called before every run. */
    enum eg_status (*prepare)(void *state);
    /* One inference and nothing else: this is what is counted and timed. */
    enum eg_status (*run)(void *state);
    /* Output `index` of the last run; `data` is valid until the next prepare. */
    enum eg_status (*output)(void *state, uint32_t index, struct eg_spec *spec, const void **data);
    /* Writes the runtime's own profile out, if one was asked for. */
    enum eg_status (*finish)(void *state);
};

struct eg_engine_options {
    const char *library;        /* path of the runtime's shared library */
    const char *model;          /* path of the model */
    const char *profile_prefix; /* NULL: no profile of operators */
    const struct eg_tensors *inputs;
    void (*before_load)(void);  /* called when the library is loaded and the model is not */
};

/* ONNX Runtime's C interface. */
enum eg_status eg_ort_open(const struct eg_engine_options *options, struct eg_engine *engine);

/* LiteRT's compiled-model C interface, on the CPU. */
enum eg_status eg_litert_open(const struct eg_engine_options *options, struct eg_engine *engine);

/* Memory aligned as both runtimes want it, at least one byte; NULL when there is none. */
void *eg_aligned(uint64_t bytes);

#endif
