// An example of a program with the model: one call, compared with what PyTorch computed. Link it with libmodel.a.
//
// It returns 0 if the outputs are right. arrays.h has the inputs and the expected outputs; your own program fills
// model_array_t with what its sensors say.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arrays.h"
#include "model.h"

static int differs(const model_array_t *output, const model_array_t *expected) {
  if (output->type != expected->type || output->rank != expected->rank || output->bytes != expected->bytes) return 1;
  if (memcmp(output->shape, expected->shape, (size_t)output->rank * sizeof output->shape[0])) return 1;
  if (output->type != MODEL_FLOAT32) return memcmp(output->data, expected->data, output->bytes) != 0;
  const float *here = output->data, *there = expected->data;
  for (size_t i = 0; i < output->bytes / sizeof(float); ++i)
    if (!(fabsf(here[i] - there[i]) <= ARRAYS_THRESHOLD)) return 1;
  return 0;
}

int main(void) {
  static model_array_t outputs[OUTPUT_COUNT];
  if (model_open(ARRAYS_FUNCTION) || model_call(inputs, INPUT_COUNT, outputs, OUTPUT_COUNT)) {
    puts(model_error());
    return 2;
  }
  int wrong = 0;
  for (int i = 0; i < OUTPUT_COUNT; ++i) wrong |= differs(&outputs[i], &expected[i]);
  model_close();
  puts(wrong ? "fail" : "pass");
  return wrong;
}
