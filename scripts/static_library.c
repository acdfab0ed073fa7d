// The route `static-library`: one dispatch of an IREE module, linked into a C program. No VM, no HAL, no allocator.
//
//   program --input=@input_0.npy… --output=@output_0.npy…
//
// It takes the command line of iree-run-module; words that are none of these two say nothing here. Every file is a
// binding of the dispatch, in order. types_0.npy… have the types and shapes of the outputs, which only the VM knows.
// LIBRARY_QUERY, of query.h, is the one function that the module exports (its generated header names it).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iree/hal/local/executable_library.h"
#include "query.h"

#define BINDINGS 16
#define ALIGNMENT 64  // what the compiler takes buffers to be aligned to

extern const iree_hal_executable_library_header_t **LIBRARY_QUERY(iree_hal_executable_library_version_t,
                                                                  const iree_hal_executable_environment_v0_t *);

typedef struct {
  unsigned char header[4096];
  size_t header_size;
  void *data;
  size_t size;
} Array;

static void end(const char *what, const char *which) {
  fprintf(stderr, "static library: %s%s\n", what, which);
  exit(1);
}

static Array read_array(const char *path) {
  Array array = {0};
  FILE *file = fopen(path, "rb");
  if (!file || fread(array.header, 1, 10, file) != 10 || memcmp(array.header, "\x93NUMPY\x01", 7)) end("no .npy file: ", path);
  array.header_size = 10 + (array.header[8] | array.header[9] << 8);
  if (array.header_size > sizeof array.header) end("a header that is too long: ", path);
  if (fread(array.header + 10, 1, array.header_size - 10, file) != array.header_size - 10) end("cut short: ", path);
  fseek(file, 0, SEEK_END);
  array.size = (size_t)ftell(file) - array.header_size;
  fseek(file, (long)array.header_size, SEEK_SET);
  array.data = aligned_alloc(ALIGNMENT, (array.size + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
  if (!array.data || fread(array.data, 1, array.size, file) != array.size) end("cannot be read: ", path);
  fclose(file);
  return array;
}

// An array of zeros for output_N.npy, like types_N.npy.
static Array zeros_for(const char *path) {
  char types[64];
  if (strncmp(path, "output_", 7) || snprintf(types, sizeof types, "types_%s", path + 7) >= (int)sizeof types)
    end("no output_N.npy: ", path);
  Array array = read_array(types);
  memset(array.data, 0, array.size);
  return array;
}

static const char *after(const char *prefix, const char *word) {
  size_t size = strlen(prefix);
  return strncmp(word, prefix, size) ? NULL : word + size;
}

static void write_array(const char *path, const Array *array) {
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(array->header, 1, array->header_size, file) != array->header_size ||
      fwrite(array->data, 1, array->size, file) != array->size || fclose(file))
    end("cannot be written: ", path);
}

int main(int count, char **words) {
  static const iree_hal_executable_environment_v0_t environment;  // no imports, no constants, no facts of the CPU
  const iree_hal_executable_library_header_t **header =
      LIBRARY_QUERY(IREE_HAL_EXECUTABLE_LIBRARY_VERSION_LATEST, &environment);
  if (!header) end("the module's library is newer than the header that this program was compiled with", "");
  const iree_hal_executable_library_v0_t *library = (const iree_hal_executable_library_v0_t *)header;
  if (library->exports.count != 1) {
    fprintf(stderr, "static library: the module has %u dispatches, and nothing but the VM knows their order\n",
            (unsigned)library->exports.count);
    return 1;
  }
  const iree_hal_executable_dispatch_attrs_v0_t *attributes = library->exports.attrs;
  if (attributes->constant_count) end("the dispatch takes constants that the VM computes", "");
  Array arrays[BINDINGS];
  const char *outputs[BINDINGS];
  int bindings = 0;
  for (int i = 1; i < count; ++i) {
    const char *input = after("--input=@", words[i]), *output = after("--output=@", words[i]);
    if (!input && !output) continue;
    if (bindings == BINDINGS) end("too many arrays at ", words[i]);
    arrays[bindings] = input ? read_array(input) : zeros_for(output);
    outputs[bindings++] = output;
  }
  if (attributes->binding_count != bindings) {
    fprintf(stderr, "static library: the dispatch has %d bindings, the model %d arrays\n", attributes->binding_count,
            bindings);
    return 1;
  }
  void *pointers[BINDINGS];
  size_t lengths[BINDINGS];
  for (int i = 0; i < bindings; ++i) {
    pointers[i] = arrays[i].data;
    lengths[i] = arrays[i].size;
  }
  size_t scratch = (size_t)attributes->local_memory_pages * IREE_HAL_EXECUTABLE_WORKGROUP_LOCAL_MEMORY_PAGE_SIZE;
  // Compiled with --iree-llvmcpu-disable-distribution: the whole dispatch is one workgroup.
  iree_hal_executable_dispatch_state_v0_t dispatch = {
      .workgroup_size_x = 1, .workgroup_size_y = 1, .workgroup_size_z = 1,
      .workgroup_count_x = 1, .workgroup_count_y = 1, .workgroup_count_z = 1,
      .max_concurrency = 1, .binding_count = (uint8_t)bindings,
      .binding_ptrs = pointers, .binding_lengths = lengths,
  };
  iree_hal_executable_workgroup_state_v0_t workgroup = {
      .local_memory = scratch ? aligned_alloc(ALIGNMENT, scratch) : NULL, .local_memory_size = (uint32_t)scratch};
  if (scratch && !workgroup.local_memory) end("no memory for the dispatch", "");
  if (library->exports.ptrs[0](&environment, &dispatch, &workgroup)) end("the dispatch failed", "");
  for (int i = 0; i < bindings; ++i)
    if (outputs[i]) write_array(outputs[i], &arrays[i]);
  return 0;
}
