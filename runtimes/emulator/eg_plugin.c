/* QEMU plugin: what each marked region of a guest costs in instructions by class, bytes loaded and stored, and memory.
 *
 * Arguments: out=FILE (JSON lines, made anew); clock=1 (also a snapshot at every clock_gettime inside a region: with a
 * profiler running in the guest these bracket the operators; and, of each region, the blocks of code that ran no more
 * often than the clock was read); watch=ADDRESS:ADDRESS (hexadecimal: a snapshot whenever the guest comes there
 * inside a region, which costs the guest nothing); count=0 (no regions: the guest runs faster).
 * The guest marks itself with architectural no-operations (eg_isa.h): mark 40 begins a region, mark 41 ends it, mark 42
 * is the moment against which memory growth is reported.
 * Lines: {"event":"install"...}, {"event":"region"...}, {"event":"clock"...}, {"event":"step"...} and {"event":"block"...}
 * in order, {"event":"memory"...}, {"event":"exit"...}. A file without the exit line was cut short.
 *
 * Counters are not atomic: a guest with more than one thread is reported ("threads") and its figures are not to be used.
 * A block of straight code is counted whole when it is entered, so a region's edges are off by a few instructions that
 * are the same in every run.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "eg_blocks.h"
#include "eg_classify.h"
#include "eg_isa.h"
#include "eg_memory_map.h"
#include "eg_plugin_api.h"

enum { HINT_BEGIN = 40, HINT_END = 41, HINT_MARK = 42 };
enum { SYSCALL_ARGUMENTS = 4, MAX_WATCHED = 64 };

EG_EXPORT int qemu_plugin_version = EG_PLUGIN_API_LEVEL;
EG_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv);

struct counts {
    uint64_t by_class[EG_CLASSES];
    uint64_t bytes_loaded;
    uint64_t bytes_stored;
};

/* QEMU hands inline counters raw addresses, so the state must outlive every callback: it is static. */
static struct counts now;
static struct counts at_begin;
static bool in_region;
static uint64_t regions;
static unsigned int threads;
static const struct eg_isa *isa;
static uint64_t undecoded; /* instructions, as translated, that nothing could sort: then the classes are not to be used */
static bool snapshot_clock;
static uint32_t clocks; /* readings of it in this region */
static uint64_t clock_entered_ns; /* on the host's clock, which is the guest's: when the reading under way began */
static bool reads_clock;
static struct eg_blocks blocks;
static uint64_t watched[MAX_WATCHED];
static unsigned int watched_count;
static struct eg_memory_map memory;
static uint64_t pending_arguments[SYSCALL_ARGUMENTS];
static FILE *out;

static uint64_t instructions_of(const struct counts *counts) {
    uint64_t sum = 0;
    for (int i = 0; i < EG_CLASSES; i++) {
        sum += counts->by_class[i];
    }
    return sum;
}

/* What the region took so far, as the rest of a line. */
static void write_taken(void) {
    fprintf(out, ",\"instructions\":%" PRIu64, instructions_of(&now) - instructions_of(&at_begin));
    for (int i = 0; i < EG_CLASSES; i++) {
        fprintf(out, ",\"%s\":%" PRIu64, eg_class_name((enum eg_class)i), now.by_class[i] - at_begin.by_class[i]);
    }
    fprintf(out, ",\"bytes_loaded\":%" PRIu64 ",\"bytes_stored\":%" PRIu64 "}\n", now.bytes_loaded - at_begin.bytes_loaded,
            now.bytes_stored - at_begin.bytes_stored);
}

static void write_region(void) {
    fprintf(out, "{\"event\":\"region\",\"index\":%" PRIu64, regions);
    write_taken();
    regions++;
}

static uint64_t host_ns(void) {
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail on Linux */
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void on_hint(unsigned int vcpu, void *userdata) {
    (void)vcpu;
    switch ((int)(intptr_t)userdata) {
    case HINT_BEGIN:
        at_begin = now;
        clocks = 0;
        in_region = true;
        break;
    case HINT_END:
        if (in_region) {
            eg_blocks_write(&blocks, regions, out);
            write_region();
        }
        in_region = false;
        break;
    case HINT_MARK:
        eg_memory_map_mark(&memory);
        break;
    default:
        break;
    }
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *userdata) {
    (void)vcpu;
    (void)address;
    (void)userdata;
    const uint64_t bytes = UINT64_C(1) << qemu_plugin_mem_size_shift(info);
    if (qemu_plugin_mem_is_store(info)) {
        now.bytes_stored += bytes;
    } else {
        now.bytes_loaded += bytes;
    }
}

static void on_block(unsigned int vcpu, void *userdata) {
    (void)vcpu;
    if (in_region) {
        eg_block_enter(&blocks, userdata, regions, clocks, instructions_of(&now) - instructions_of(&at_begin));
    }
}

static void on_watched(unsigned int vcpu, void *userdata) {
    (void)vcpu;
    if (in_region) {
        fprintf(out, "{\"event\":\"step\",\"region\":%" PRIu64 ",\"address\":%" PRIu64, regions, *(const uint64_t *)userdata);
        write_taken();
    }
}

static void watch(struct qemu_plugin_insn *insn) {
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    for (unsigned int i = 0; i < watched_count; i++) {
        if (watched[i] == address) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_watched, EG_CB_NO_REGS, &watched[i]);
        }
    }
}

static enum eg_class class_of(const struct qemu_plugin_insn *insn, uint32_t word) {
    enum eg_class kind = EG_INTEGER;
    if (!isa->by_text) {
        return isa->of_word(word);
    }
    char *text = qemu_plugin_insn_disas(insn);
    if (text == NULL || !eg_classify_arm(text, &kind)) {
        undecoded++;
    }
    free(text);
    return kind;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    uint64_t in_block[EG_CLASSES] = {0};
    const size_t length = qemu_plugin_tb_n_insns(tb);
    struct eg_block *block = snapshot_clock ? eg_block_of(&blocks, qemu_plugin_tb_vaddr(tb)) : NULL;
    if (block != NULL) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, EG_CB_NO_REGS, block);
    }
    for (size_t i = 0; i < length; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t word = 0;
        const size_t bytes = qemu_plugin_insn_size(insn);
        memcpy(&word, qemu_plugin_insn_data(insn), bytes < sizeof word ? bytes : sizeof word);
        in_block[class_of(insn, word)]++;
        const int hint = eg_isa_mark(isa, word, bytes);
        if (hint >= 0) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_hint, EG_CB_NO_REGS, (void *)(intptr_t)hint);
        }
        watch(insn);
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, EG_CB_NO_REGS, EG_MEM_READ_WRITE, NULL);
    }
    for (int i = 0; i < EG_CLASSES; i++) {
        if (in_block[i] != 0u) {
            qemu_plugin_register_vcpu_tb_exec_inline(tb, EG_INLINE_ADD_U64, &now.by_class[i], in_block[i]);
        }
    }
}

static void on_thread(qemu_plugin_id_t id, unsigned int vcpu) {
    (void)id;
    (void)vcpu;
    threads++;
}

static void on_syscall(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id;
    (void)vcpu;
    (void)a5;
    (void)a6;
    (void)a7;
    (void)a8;
    pending_arguments[0] = a1 & isa->address_mask;
    pending_arguments[1] = a2 & isa->address_mask;
    pending_arguments[2] = a3 & isa->address_mask;
    pending_arguments[3] = a4 & isa->address_mask;
    reads_clock = snapshot_clock && in_region && (number == isa->clock_gettime[0] || number == isa->clock_gettime[1]);
    clock_entered_ns = reads_clock ? host_ns() : 0u;
}

static void on_syscall_return(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, int64_t result) {
    (void)id;
    (void)vcpu;
    if (reads_clock) {
        fprintf(out, "{\"event\":\"clock\",\"region\":%" PRIu64 ",\"entered_ns\":%" PRIu64 ",\"left_ns\":%" PRIu64, regions,
                clock_entered_ns, host_ns());
        write_taken();
        clocks++;
        reads_clock = false;
    }
    if (result < 0 && result > -4096) {
        return; /* an error number: nothing was mapped */
    }
    eg_memory_map_syscall(&memory, &isa->syscalls, number, pending_arguments, (int64_t)((uint64_t)result & isa->address_mask));
}

static void on_exit_of_guest(qemu_plugin_id_t id, void *userdata) {
    (void)id;
    (void)userdata;
    fprintf(out,
            "{\"event\":\"memory\",\"complete\":%s,\"peak_bytes\":%" PRIu64 ",\"marked\":%s,\"growth_bytes\":%" PRIu64 "}\n",
            memory.overflowed ? "false" : "true", memory.peak_bytes, memory.marked ? "true" : "false",
            memory.peak_since_mark_bytes - memory.marked_bytes);
    fprintf(out, "{\"event\":\"exit\",\"regions\":%" PRIu64 ",\"threads\":%u,\"undecoded\":%" PRIu64 ",\"instructions\":%" PRIu64 "}\n",
            regions, threads, undecoded, instructions_of(&now));
    if (fclose(out) != 0) {
        fprintf(stderr, "edgegen plugin: cannot write the counts: %s\n", strerror(errno));
    }
}

static bool read_watched(const char *text) {
    char *end = NULL;
    do {
        if (watched_count == MAX_WATCHED) {
            return false;
        }
        errno = 0;
        watched[watched_count++] = strtoull(text, &end, 16);
        if (errno != 0 || end == text) {
            return false;
        }
        text = end + 1;
    } while (*end == ':');
    return *end == '\0';
}

EG_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv) {
    const char *path = NULL;
    bool count = true;
    if (info->version.min > EG_PLUGIN_API_LEVEL || info->version.cur < EG_PLUGIN_API_LEVEL) {
        fprintf(stderr, "edgegen plugin: QEMU offers plugin interface %d to %d, this plugin needs %d\n",
                info->version.min, info->version.cur, EG_PLUGIN_API_LEVEL);
        return 1;
    }
    isa = info->system_emulation ? NULL : eg_isa_of(info->target_name);
    if (isa == NULL) {
        fprintf(stderr, "edgegen plugin: only programs for aarch64, arm and riscv64 are counted, not %s\n", info->target_name);
        return 1;
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            path = argv[i] + 4;
        } else if (strcmp(argv[i], "clock=1") == 0) {
            snapshot_clock = true;
        } else if (strncmp(argv[i], "watch=", 6) == 0) {
            if (!read_watched(argv[i] + 6)) {
                fprintf(stderr, "edgegen plugin: %s: hexadecimal addresses are wanted, %d at most\n", argv[i], MAX_WATCHED);
                return 1;
            }
        } else if (strcmp(argv[i], "count=0") == 0) {
            count = false;
        } else {
            fprintf(stderr, "edgegen plugin: unknown argument %s\n", argv[i]);
            return 1;
        }
    }
    out = path != NULL ? fopen(path, "w") : NULL;
    if (out == NULL) {
        fprintf(stderr, "edgegen plugin: cannot open the file for the counts (out=%s): %s\n", path != NULL ? path : "",
                path != NULL ? strerror(errno) : "not given");
        return 1;
    }
    /* The emulator must not outlive the process that waits for it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        fprintf(stderr, "edgegen plugin: prctl: %s\n", strerror(errno));
        return 1;
    }
    fprintf(out, "{\"event\":\"install\",\"api_min\":%d,\"api_current\":%d}\n", info->version.min, info->version.cur);
    qemu_plugin_register_vcpu_init_cb(id, on_thread);
    if (count) {
        qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    }
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_return);
    qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
    return 0;
}
