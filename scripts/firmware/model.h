// One model as a library: IREE's runtime without an operating system, the compiled module, and three functions.
//
//   model_array_t image = {.type = MODEL_FLOAT32, .rank = 2, .shape = {1, 64}, .data = pixels}, scores;
//   if (model_open("main") || model_call(&image, 1, &scores, 1)) puts(model_error());
//   ... scores.data, scores.shape ... valid until the next call ...
//
// Nothing of it is reentrant: call it from one thread. It needs `malloc`, and the bytes of heap and stack that the
// archive's README names.
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_RANK 8

// IREE's numbers of element types: the kind of number in the upper byte, the bits in the lower ones.
typedef enum {
  MODEL_BOOL8 = 0x13000008,
  MODEL_INT8 = 0x11000008,
  MODEL_INT16 = 0x11000010,
  MODEL_INT32 = 0x11000020,
  MODEL_INT64 = 0x11000040,
  MODEL_UINT8 = 0x12000008,
  MODEL_FLOAT32 = 0x21000020,
} model_type_t;

// A dense array, the last dimension first in memory order of C.
typedef struct {
  model_type_t type;
  int rank;
  int32_t shape[MODEL_RANK];
  const void *data;
  size_t bytes;  // of the data; model_call computes it of its inputs' types and shapes
} model_array_t;

// Loads the module; `function` is the entry point, "main" for models from PyTorch. 0, or not 0 with model_error().
int model_open(const char *function);

// Copies the inputs, calls the function, and says where its outputs lie. 0, or not 0 with model_error().
int model_call(const model_array_t *inputs, int input_count, model_array_t *outputs, int output_count);

// Frees all that model_open and model_call allocated.
void model_close(void);

// What the last failing call said: IREE's own words.
const char *model_error(void);

#ifdef __cplusplus
}
#endif
#endif  // MODEL_H
