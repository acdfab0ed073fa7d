// Reads triples of floats as hexadecimal bits, prints the bits of fmaf of each: compared with exact arithmetic.
#include <math.h>
#include <stdint.h>
#include <stdio.h>

static float from(uint32_t bits) {
  union { uint32_t bits; float value; } both = {bits};
  return both.value;
}

float fmaf(float, float, float);

int main(void) {
  unsigned a, b, c;
  while (scanf("%x %x %x", &a, &b, &c) == 3) {
    union { float value; uint32_t bits; } out = {fmaf(from(a), from(b), from(c))};
    printf("%08x\n", out.bits);
  }
  return 0;
}
