// Reads floats as hexadecimal bits, prints the bits of roundevenf, nearbyintf and truncf of each.
#include <stdint.h>
#include <stdio.h>

typedef union {
  uint32_t bits;
  float value;
} Bits;

float roundevenf(float);
float nearbyintf(float);
float truncf(float);

int main(void) {
  Bits x;
  while (scanf("%x", &x.bits) == 1) {
    Bits even = {.value = roundevenf(x.value)}, near = {.value = nearbyintf(x.value)}, part = {.value = truncf(x.value)};
    printf("%08x %08x %08x\n", even.bits, near.bits, part.bits);
  }
  return 0;
}
