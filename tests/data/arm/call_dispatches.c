/* Loads an embedded ELF of a module for 32-bit Arm and calls each of its dispatches once, on zeros: IREE publishes no
 * runtime for these CPUs. Written for Armv4T without VFP, so that only the module's own code can be too new for a CPU.
 *
 * The structures are those of iree/hal/local/executable_library.h, ABI 5 (compilers 3.0 to 3.7) and 6 (from 3.8).
 *
 *   call_dispatches module.so  ->  a line `called NAME` for each dispatch that came back
 */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BINDINGS = 16, BINDING_BYTES = 1 << 20, CONSTANTS = 64, NEWEST_ABI = 6, OLDEST_ABI = 5 };

typedef struct {
  const uint32_t* constants;
  void* import_thunk;
  const void* import_functions;
  const void** import_contexts;
  uint64_t processor[8];
} Environment;

typedef struct {
  uint32_t workgroup_size_x, workgroup_size_y;
  uint16_t workgroup_size_z, constant_count;
  uint32_t workgroup_count_x, workgroup_count_y;
  uint16_t workgroup_count_z;
  uint8_t max_concurrency, binding_count;
  const uint32_t* constants;
  void* const* binding_pointers;
  const size_t* binding_lengths;
} DispatchState;

typedef struct {
  uint32_t workgroup_x, workgroup_y;
  uint16_t workgroup_z, reserved;
  uint32_t processor_id;
  void* local_memory;
  uint32_t local_memory_size;
} WorkgroupState;

typedef int (*Dispatch)(const Environment*, const DispatchState*, const WorkgroupState*);

typedef struct {
  const void* header;
  struct {
    uint32_t count;
    const char* const* symbols;
  } imports;
  struct {
    uint32_t count;
    const Dispatch* pointers;
    const void* attributes;
    const void* parameters;
    const void* occupancy;
    const char* const* names;
  } exports;
} Library;

typedef const Library* (*Query)(uint32_t newest, const Environment*);

static void fail(const char* message, const char* name) {
  fprintf(stderr, "call_dispatches: %s: %s\n", name, message);
  exit(2);
}

static void unwind(void) {}

static uint32_t resolve(const Elf32_Sym* symbol, const char* strings, char* base) {
  const char* name = strings + symbol->st_name;
  if (symbol->st_shndx != SHN_UNDEF) return (uint32_t)base + symbol->st_value;
  if (!strncmp(name, "__aeabi_unwind_cpp_pr", 21)) return (uint32_t)unwind;
  fail("no such symbol is here", name);
  return 0;
}

static Query load(char* file) {
  Elf32_Ehdr* head = (Elf32_Ehdr*)file;
  if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_machine != EM_ARM) fail("no ELF file for 32-bit Arm", "it");
  Elf32_Phdr* segments = (Elf32_Phdr*)(file + head->e_phoff);
  uint32_t size = 0;
  for (int i = 0; i < head->e_phnum; i++)
    if (segments[i].p_type == PT_LOAD && segments[i].p_vaddr + segments[i].p_memsz > size)
      size = segments[i].p_vaddr + segments[i].p_memsz;
  char* base = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) fail("no memory", "mmap");
  for (int i = 0; i < head->e_phnum; i++)
    if (segments[i].p_type == PT_LOAD)
      memcpy(base + segments[i].p_vaddr, file + segments[i].p_offset, segments[i].p_filesz);

  Elf32_Shdr* sections = (Elf32_Shdr*)(file + head->e_shoff);
  Elf32_Sym *symbols = NULL, *end = NULL;
  const char* strings = NULL;
  for (int i = 0; i < head->e_shnum; i++)
    if (sections[i].sh_type == SHT_DYNSYM) {
      symbols = (Elf32_Sym*)(file + sections[i].sh_offset);
      end = (Elf32_Sym*)((char*)symbols + sections[i].sh_size);
      strings = file + sections[sections[i].sh_link].sh_offset;
    }
  if (!symbols) fail("no symbols", "dynsym");
  for (int i = 0; i < head->e_shnum; i++) {
    if (sections[i].sh_type != SHT_REL) continue;
    Elf32_Rel* relocation = (Elf32_Rel*)(file + sections[i].sh_offset);
    Elf32_Rel* last = (Elf32_Rel*)((char*)relocation + sections[i].sh_size);
    for (; relocation < last; relocation++) {
      uint32_t* place = (uint32_t*)(base + relocation->r_offset);
      const Elf32_Sym* symbol = symbols + ELF32_R_SYM(relocation->r_info);
      switch (ELF32_R_TYPE(relocation->r_info)) {
        case R_ARM_NONE: break;
        case R_ARM_RELATIVE: *place += (uint32_t)base; break;
        case R_ARM_ABS32: *place += resolve(symbol, strings, base); break;
        case R_ARM_GLOB_DAT:
        case R_ARM_JUMP_SLOT: *place = resolve(symbol, strings, base); break;
        default: fail("a relocation of an unknown kind", "rel");
      }
    }
  }
  __builtin___clear_cache(base, base + size);
  for (Elf32_Sym* symbol = symbols; symbol < end; symbol++)
    if (symbol->st_shndx != SHN_UNDEF && !strcmp(strings + symbol->st_name, "iree_hal_executable_library_query"))
      return (Query)(base + symbol->st_value);
  fail("not exported", "iree_hal_executable_library_query");
  return NULL;
}

int main(int count, char** words) {
  if (count != 2) fail("one file is expected", "arguments");
  FILE* opened = fopen(words[1], "rb");
  if (!opened || fseek(opened, 0, SEEK_END)) fail("cannot be read", words[1]);
  long size = ftell(opened);
  char* file = malloc(size);
  rewind(opened);
  if (fread(file, 1, size, opened) != (size_t)size) fail("cannot be read", words[1]);

  static uint32_t constants[CONSTANTS];
  static void* pointers[BINDINGS];
  static size_t lengths[BINDINGS];
  for (int i = 0; i < BINDINGS; i++) {
    pointers[i] = aligned_alloc(64, lengths[i] = BINDING_BYTES);
    memset(pointers[i], 0, BINDING_BYTES);
  }
  Environment environment = {.constants = constants};
  Query query = load(file);
  const Library* library = NULL;
  for (uint32_t abi = NEWEST_ABI; !library && abi >= OLDEST_ABI; abi--) library = query(abi, &environment);
  if (!library) fail("another ABI", words[1]);
  for (uint32_t i = 0; i < library->exports.count; i++) {
    DispatchState state = {1, 1, 1, CONSTANTS, 1, 1, 1, 1, BINDINGS, constants, pointers, lengths};
    WorkgroupState workgroup = {.local_memory = aligned_alloc(64, BINDING_BYTES), .local_memory_size = BINDING_BYTES};
    if (library->exports.pointers[i](&environment, &state, &workgroup)) fail("a dispatch fails", words[1]);
    printf("called %u\n", i);
    fflush(stdout);
  }
  return 0;
}
