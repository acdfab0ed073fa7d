/* Which code the last call executes, block by block: from it the instructions of each dispatch and line are read.

   A block is code without a branch inside: if its first instruction is executed, so are the others. Where a module's
   code lies in memory, only its runtime knows; so each block has its bytes, which tell it in the module. */
#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS = 1 << 14, LONGEST_INSTRUCTION = 15 };

struct block {
  struct block *next;
  uint64_t address, executed;
  size_t length, bytes;
  uint8_t *sizes, *code;
};

static struct block *chains[CHAINS];
static bool inside, lost;

/* NULL: there is no memory for it, or it is no code. */
static struct block *make(const struct qemu_plugin_tb *translated) {
  size_t length = qemu_plugin_tb_n_insns(translated);
  struct block *block = malloc(sizeof *block);
  uint8_t *room = malloc(length * (LONGEST_INSTRUCTION + 1) + 1);
  if (!block || !room) return NULL;
  *block = (struct block){.address = qemu_plugin_tb_vaddr(translated), .length = length, .sizes = room};
  block->code = room + length;
  for (size_t index = 0; index < length; index++) {
    struct qemu_plugin_insn *each = qemu_plugin_tb_get_insn(translated, index);
    size_t size = qemu_plugin_insn_size(each);
    if (size > LONGEST_INSTRUCTION) return NULL;
    block->sizes[index] = (uint8_t)size;
    memcpy(block->code + block->bytes, qemu_plugin_insn_data(each), size);
    block->bytes += size;
  }
  return block;
}

static bool same(const struct block *a, const struct block *b) {
  return a->address == b->address && a->length == b->length && a->bytes == b->bytes &&
         !memcmp(a->sizes, b->sizes, a->length + a->bytes);
}

static struct block *keep(struct block *made) {
  struct block **chain = &chains[(made->address ^ made->address >> 14) % CHAINS];
  for (struct block *other = *chain; other; other = other->next)
    if (same(other, made)) {
      free(made->sizes);
      free(made);
      return other;
    }
  made->next = *chain;
  return *chain = made;
}

static void entered(unsigned cpu, void *block) {
  if (inside && cpu == 0) ((struct block *)block)->executed++;
}

void blocks_keep(struct qemu_plugin_tb *translated) {
  struct block *made = make(translated);
  if (made)
    qemu_plugin_register_vcpu_tb_exec_cb(translated, entered, NO_REGISTERS, keep(made));
  else
    lost = true;
}

void blocks_inside(bool now) { inside = now; }

static void write_block(FILE *file, const struct block *block) {
  fprintf(file, "[%llu, %llu, \"", (unsigned long long)block->address, (unsigned long long)block->executed);
  for (size_t index = 0; index < block->length; index++) fprintf(file, "%x", block->sizes[index]);
  fputs("\", \"", file);
  for (size_t index = 0; index < block->bytes; index++) fprintf(file, "%02x", block->code[index]);
  fputs("\"]", file);
}

bool blocks_write(const char *machine) {
  FILE *file = fopen("blocks.json", "w");
  if (!file || lost) return false;
  fprintf(file, "{\"machine\": \"%s\", \"blocks\": [", machine);
  const char *between = "\n";
  for (size_t chain = 0; chain < CHAINS; chain++)
    for (const struct block *block = chains[chain]; block; block = block->next)
      if (block->executed) {
        fputs(between, file);
        write_block(file, block);
        between = ",\n";
      }
  fputs("\n]}\n", file);
  return !fclose(file);
}
