/* The name of the machine, the same on every one: a program keeps it, and where its memory lies next to it would depend
   on the name's length. And the CPU on which it runs, and may run: the only one, as in the files that it reads,
   which are machine.toml. */
#include "plugin.h"

#include <string.h>

enum { FIELD = 65 };

static const char *const system_name = "Linux", *const host_name = "counted";
static uint64_t asked[3];     /* the arguments of the guest's call */
static host_call under_way;
static uint64_t guest_memory; /* where address 0 of the guest is */

void host_sees(const struct qemu_plugin_insn *each) {
  uintptr_t here = (uintptr_t)qemu_plugin_insn_haddr(each);
  if (here && !guest_memory) guest_memory = here - qemu_plugin_insn_vaddr(each);
}

void host_called(host_call call, uint64_t first, uint64_t second, uint64_t third) {
  under_way = call;
  asked[0] = first;
  asked[1] = second;
  asked[2] = third;
}

static char *guest(uint64_t address) { return (char *)(uintptr_t)(guest_memory + address); }

void host_returned(int64_t value) {
  if (under_way == GETCPU && value == 0)
    for (unsigned index = 0; index < 2; index++)
      if (asked[index]) memset(guest(asked[index]), 0, sizeof(uint32_t));
  if (under_way == GETAFFINITY && value > 0) {
    memset(guest(asked[2]), 0, (size_t)value);
    *guest(asked[2]) = 1;
  }
  if (under_way == UNAME && value == 0 && !strcmp(guest(asked[0]), system_name))
    strcpy(guest(asked[0]) + FIELD, host_name);
  under_way = OTHER_CALL;
}
