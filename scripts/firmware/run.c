// Runs the linked model once: inputs from .npy files of the host, outputs into such, as iree-run-module takes them.
//
//   --function=main --input=@input_0.npy… --output=@output_0.npy…
//
// memory.json says what the call needed: the peak of heap and stack in bytes, and ticks of the board's clock.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "model.h"

#define ARRAYS 16
#define LINE 2048
#define HEADER 1024
#define SIGNLESS 0x10  // the upper byte of MLIR's integers without a sign, such as i32

typedef struct {
  const char *name;
  model_type_t type;
  size_t bytes;
} Kind;

static const Kind KINDS[] = {
    {"|i1", MODEL_INT8, 1},  {"<i2", MODEL_INT16, 2}, {"<i4", MODEL_INT32, 4},   {"<i8", MODEL_INT64, 8},
    {"|b1", MODEL_BOOL8, 1}, {"|u1", MODEL_UINT8, 1}, {"<f4", MODEL_FLOAT32, 4},
};

static _Noreturn void end(const char *what, const char *which) {
  board_say("firmware: ");
  board_say(what);
  board_say(which);
  board_say("\n");
  board_exit(1);
  for (;;) {
  }
}

static void take(int file, void *data, size_t size, const char *path) {
  if (board_read(file, data, size)) end("cut short: ", path);
}

static const char *value_of(const char *header, const char *key, const char *path) {
  const char *found = strstr(header, key);
  if (!found) end("no header of an .npy file: ", path);
  found = strchr(found, ':');
  if (!found) end("no header of an .npy file: ", path);
  return found + 1 + strspn(found + 1, " ");
}

static model_array_t read_array(const char *path) {
  static char header[HEADER];
  model_array_t array = {.rank = 0};
  unsigned char begin[10];
  int file = board_open(path, 0);
  if (file < 0) end("no such file: ", path);
  take(file, begin, sizeof begin, path);
  size_t size = (size_t)(begin[8] | begin[9] << 8);
  if (memcmp(begin, "\x93NUMPY\x01", 7) || size >= sizeof header) end("no .npy file of version 1: ", path);
  take(file, header, size, path);
  header[size] = 0;
  const char *descr = value_of(header, "'descr'", path) + 1;
  if (strncmp(value_of(header, "'fortran_order'", path), "False", 5)) end("in Fortran's order: ", path);
  const Kind *kind = KINDS, *last = KINDS + sizeof KINDS / sizeof *KINDS;
  while (kind < last && strncmp(descr, kind->name, 3)) ++kind;
  if (kind == last) end("an element type that this program does not know: ", path);
  array.type = kind->type;
  array.bytes = kind->bytes;
  char *place = (char *)value_of(header, "'shape'", path) + 1;
  while (*place && *place != ')') {
    if (array.rank == MODEL_RANK) end("too many dimensions: ", path);
    array.shape[array.rank] = (int32_t)strtol(place, &place, 10);
    array.bytes *= (size_t)array.shape[array.rank++];
    place += strspn(place, ", ");
  }
  void *data = malloc(array.bytes ? array.bytes : 1);
  if (!data) end("no memory for ", path);
  take(file, data, array.bytes, path);
  board_shut(file);
  array.data = data;
  return array;
}

static void write_array(const char *path, const model_array_t *array) {
  const Kind *kind = KINDS, *last = KINDS + sizeof KINDS / sizeof *KINDS;
  model_type_t type = array->type >> 24 == SIGNLESS ? array->type + (1 << 24) : array->type;
  while (kind < last && kind->type != type) ++kind;
  if (kind == last) end("an output of a type that this program does not know: ", path);
  char header[256] = "\x93NUMPY\x01";
  int length = snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (", kind->name);
  for (int i = 0; i < array->rank; ++i)
    length += snprintf(header + 10 + length, sizeof header - 10 - (size_t)length, "%ld,", (long)array->shape[i]);
  length += snprintf(header + 10 + length, sizeof header - 10 - (size_t)length, "), }");
  while ((10 + length + 1) % 64) header[10 + length++] = ' ';
  header[10 + length++] = '\n';
  header[8] = (char)(length & 255);
  header[9] = (char)(length >> 8);
  int file = board_open(path, 1);
  if (file < 0 || board_write(file, header, 10 + (size_t)length) || board_write(file, array->data, array->bytes))
    end("cannot be written: ", path);
  board_shut(file);
}

static void write_memory(size_t heap, size_t stack, uint64_t ticks) {
  char text[128];
  int length = snprintf(text, sizeof text, "{\"heap_bytes\": %lu, \"stack_bytes\": %lu, \"ticks\": %lu}\n",
                        (unsigned long)heap, (unsigned long)stack, (unsigned long)ticks);
  int file = board_open("memory.json", 1);
  if (file < 0 || board_write(file, text, (size_t)length)) end("cannot be written: ", "memory.json");
  board_shut(file);
}

int main(void) {
  static char line[LINE];
  static model_array_t inputs[ARRAYS], outputs[ARRAYS];
  static const char *paths[ARRAYS];
  const char *function = "main";
  int input_count = 0, output_count = 0;
  if (board_words(line, sizeof line)) end("too many words", "");
  for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
    if (!strncmp(word, "--function=", 11)) function = word + 11;
    int input = !strncmp(word, "--input=@", 9), output = !strncmp(word, "--output=@", 10);
    if ((input ? input_count : output_count) == ARRAYS) end("too many arrays at ", word);
    if (input) inputs[input_count++] = read_array(word + 9);
    if (output) paths[output_count++] = word + 10;
  }
  if (model_open(function)) end("", model_error());
  board_ticks_begin();
  int status = model_call(inputs, input_count, outputs, output_count);
  uint64_t ticks = board_ticks_end();
  if (status) end("", model_error());
  size_t heap = board_heap(), stack = board_stack();
  for (int i = 0; i < output_count; ++i) write_array(paths[i], &outputs[i]);
  write_memory(heap, stack, ticks);
  return 0;
}
