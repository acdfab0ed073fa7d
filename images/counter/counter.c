/* A plugin of qemu's user mode that counts what a program executes on its first thread, from mark to mark.

   A mark is a call of clock_gettime for the CPU time of the process. Google's benchmark makes one wherever it starts or
   stops its clock, and iree-benchmark-module stops the clock between two calls of a module. So marks come in pairs, one
   pair for each call, and what a program does before the first call and after the last one is in none of them. The
   last pair has no call in it: it is the cost of the clock itself.

   It writes counts.json into the folder of the job: for each pair the instructions, the loads and the stores, and for the
   last call the misses of the cache in cache.c. It writes nothing where there is nothing to count, and where it refuses,
   it says why on stderr and ends the program with status 97.

   With BLOCKS it is the profiler: it counts no loads, stores and misses, and blocks.c writes which code the last call
   executes. */
#include "plugin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
SHOWN int qemu_plugin_version = INTERFACE;

enum { REFUSED = 97, CPU_TIME_OF_PROCESS = 2, EVEX = 0x62 };

typedef struct { uint64_t instructions, loads, stores, elsewhere; } counts;

/* The machine's numbers of clock_gettime; 32-bit Arm has one for each size of time_t. */
static const struct { const char *machine; int64_t calls[2]; } clocks[] = {
    {"x86_64", {228, 228}}, {"aarch64", {113, 113}}, {"riscv64", {113, 113}}, {"arm", {263, 403}}};
/* And of the calls in host.c, in the same order. */
static const struct { int64_t uname, getcpu, getaffinity; } host_calls[] = {
    {63, 309, 204}, {160, 168, 123}, {160, 168, 123}, {122, 345, 242}};
static const int64_t *clock_calls;
static unsigned known;
static const char *machine;
static counts now, marks[MARKS];
static unsigned marked;

static void refuse(const char *reason) {
  fprintf(stderr, "counter: refused: %s\n", reason);
  _exit(REFUSED);
}

static void executed(unsigned cpu, void *instructions) {
  if (cpu == 0)
    now.instructions += (uintptr_t)instructions;
  else
    __atomic_fetch_add(&now.elsewhere, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void accessed(unsigned cpu, memory_info info, uint64_t address, void *nothing) {
  (void)nothing;
  if (cpu != 0) return;
  cache_access(address, UINT64_C(1) << qemu_plugin_mem_size_shift(info));
  if (qemu_plugin_mem_is_store(info))
    now.stores++;
  else
    now.loads++;
}

/* AVX-512 begins with EVEX, which is nothing else in 64-bit code. qemu 7.2 would raise SIGILL, as for a wrong program. */
static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  size_t length = qemu_plugin_tb_n_insns(block);
  qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, (void *)(uintptr_t)length);
  blocks_keep(block);
  for (size_t index = 0; index < length; index++) {
    struct qemu_plugin_insn *each = qemu_plugin_tb_get_insn(block, index);
    host_sees(each);
    if (clock_calls == clocks[0].calls && qemu_plugin_insn_size(each) > 0 &&
        *(const uint8_t *)qemu_plugin_insn_data(each) == EVEX)
      refuse("AVX-512 code, which this emulator does not have: compile for x86-64-v3 or less");
    if (!PROFILER) qemu_plugin_register_vcpu_mem_cb(each, accessed, NO_REGISTERS, LOADS_AND_STORES, NULL);
  }
}

static host_call host_call_of(int64_t number) {
  if (number == host_calls[known].uname) return UNAME;
  if (number == host_calls[known].getcpu) return GETCPU;
  return number == host_calls[known].getaffinity ? GETAFFINITY : OTHER_CALL;
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t first, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g) {
  (void)id, (void)c, (void)d, (void)e, (void)f, (void)g;
  if (cpu == 0) host_called(host_call_of(number), first, a, b);
  if (cpu != 0 || (number != clock_calls[0] && number != clock_calls[1]) || first != CPU_TIME_OF_PROCESS) return;
  if (marked < MARKS) marks[marked] = now, cache_mark(marked);
  marked++;
  blocks_inside(marked == 2 * CALLS - 1);
}

static void returned(plugin_id id, unsigned cpu, int64_t number, int64_t value) {
  (void)id, (void)number;
  if (cpu == 0) host_returned(value);
}

static void ended(plugin_id id, void *nothing) {
  (void)id, (void)nothing;
  if (marked == 0) return;
  if (marked != MARKS) refuse("the benchmark did not stop its clock between four calls of the module, and once more");
  for (unsigned index = 0; index < MARKS; index += 2)
    if (marks[index + 1].elsewhere != marks[index].elsewhere)
      refuse("another thread ran during a call: how much it executes is not the same twice, use --device=local-sync");
  FILE *file = fopen("counts.json", "w");
  if (!file) refuse("counts.json cannot be written");
  fprintf(file, "{\"machine\": \"%s\", \"calls\": [", machine);
  for (unsigned index = 0; index < MARKS; index += 2) {
    const counts *before = &marks[index], *after = &marks[index + 1];
    fprintf(file, "%s[%llu, %llu, %llu]", index ? ", " : "",
            (unsigned long long)(after->instructions - before->instructions),
            (unsigned long long)(after->loads - before->loads), (unsigned long long)(after->stores - before->stores));
  }
  cache_write(file);
  fprintf(file, "]}\n");
  if (fclose(file)) refuse("counts.json cannot be written");
  if (!blocks_write(machine)) refuse("blocks.json cannot be written");
}

SHOWN int qemu_plugin_install(plugin_id id, const qemu_info *info, int count, char **words) {
  (void)count, (void)words;
  for (size_t index = 0; index < sizeof clocks / sizeof *clocks; index++)
    if (!strcmp(info->target_name, clocks[index].machine)) {
      machine = clocks[index].machine;
      clock_calls = clocks[index].calls;
      known = (unsigned)index;
    }
  if (!machine) refuse("it does not know this machine's number of clock_gettime");
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  qemu_plugin_register_vcpu_syscall_ret_cb(id, returned);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
