/* What the sources of the plugin share: the interface of qemu 7.2, of which Debian packages no header. */
#ifndef PLUGIN_H
#define PLUGIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t plugin_id;
typedef uint32_t memory_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct {
  const char *target_name;
  struct { int minimum, current; } version;
  bool system_emulation;
} qemu_info;

/* CALLS is COUNTED_CALLS of matrix/plan/backends/iree/counting.py. */
enum { CALLS = 4, MARKS = 2 * (CALLS + 1) };
enum { INTERFACE = 1, NO_REGISTERS = 0, LOADS_AND_STORES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, memory_info, uint64_t, void *), int,
                                      int, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id,
                                          void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_vcpu_syscall_ret_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, int64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);
bool qemu_plugin_mem_is_store(memory_info);
unsigned qemu_plugin_mem_size_shift(memory_info);

/* An instruction of the guest: where its memory is. */
void host_sees(const struct qemu_plugin_insn *);
typedef enum { OTHER_CALL, UNAME, GETCPU, GETAFFINITY } host_call;
/* A system call, and its first arguments. */
void host_called(host_call, uint64_t first, uint64_t second, uint64_t third);
/* It is over, with this value: what it says of the machine is made the same everywhere. */
void host_returned(int64_t value);

#ifdef BLOCKS
enum { PROFILER = 1 };
/* Keeps the code of a block, and from now on how often the first thread executes it. */
void blocks_keep(struct qemu_plugin_tb *);
/* Whether what is executed from now on counts. */
void blocks_inside(bool);
/* Writes blocks.json into the folder of the job; false: it cannot be written. */
bool blocks_write(const char *machine);
static inline void cache_access(uint64_t address, uint64_t bytes) { (void)address, (void)bytes; }
static inline void cache_mark(unsigned mark) { (void)mark; }
static inline void cache_write(FILE *file) { (void)file; }
#else
enum { PROFILER = 0 };
static inline void blocks_keep(struct qemu_plugin_tb *block) { (void)block; }
static inline void blocks_inside(bool now) { (void)now; }
static inline bool blocks_write(const char *machine) { (void)machine; return true; }
/* An access to so many bytes. */
void cache_access(uint64_t address, uint64_t bytes);
/* A mark of the clock: where calls begin and end. */
void cache_mark(unsigned mark);
/* Ends the list of calls in counts.json, and begins that of the misses of the last call. */
void cache_write(FILE *file);
#endif
#endif
