// fmodf: exact by definition. Long division on the mantissas, a bit of the quotient at a time.
#include <stdint.h>

typedef union {
  float value;
  uint32_t bits;
} Bits;

static int32_t normal(uint32_t bits, uint32_t *mantissa) {
  int32_t exponent = bits >> 23;
  *mantissa = bits & 0x7FFFFF;
  if (exponent) {
    *mantissa |= 0x800000;
  } else {
    for (exponent = 1; *mantissa && !(*mantissa & 0x800000); exponent--) *mantissa <<= 1;
  }
  return exponent;
}

float fmodf(float x, float y) {
  Bits a = {x}, b = {y};
  uint32_t sign = a.bits & 0x80000000, left = a.bits & 0x7FFFFFFF, right = b.bits & 0x7FFFFFFF, m, n;
  if (right == 0 || left >= 0x7F800000 || right > 0x7F800000) return (x * y) / (x * y);
  if (left < right) return x;
  int32_t exponent = normal(left, &m), other = normal(right, &n);
  for (; exponent > other; exponent--) m = (m >= n ? m - n : m) << 1;
  if (m >= n) m -= n;
  if (!m) return (Bits){.bits = sign}.value;
  for (; !(m & 0x800000); exponent--) m <<= 1;
  if (exponent > 0) return (Bits){.bits = sign | (uint32_t)exponent << 23 | (m & 0x7FFFFF)}.value;
  return (Bits){.bits = sign | m >> (1 - exponent)}.value;
}
