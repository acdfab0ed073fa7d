// Rounding to whole floats, where the code that IREE links has none (it has floorf, ceilf, rintf and roundf). From 2^23 on every float is whole; adding and taking away 2^23 rounds the
// others to the nearest, ties to even, in the default rounding mode.
#include <stdint.h>

typedef union {
  float value;
  uint32_t bits;
} Bits;

static const float WHOLE = 8388608.0f;  // 2^23

static float magnitude(float x) { return (Bits){.bits = (Bits){x}.bits & 0x7FFFFFFF}.value; }

static float signed_as(float x, float sign) {
  return (Bits){.bits = (Bits){x}.bits | ((Bits){sign}.bits & 0x80000000)}.value;
}

static float to_even(float x) {
  float m = magnitude(x);
  if (!(m < WHOLE)) return x;  // whole already, infinite or not a number
  volatile float moved = m + WHOLE;  // volatile: the two steps must not be folded into none
  return signed_as(moved - WHOLE, x);
}

float roundevenf(float x) { return to_even(x); }
float nearbyintf(float x) { return to_even(x); }

float truncf(float x) {
  float m = magnitude(x);
  if (!(m < WHOLE)) return x;
  return signed_as((float)(int32_t)m, x);
}
