// A correctly rounded fmaf for ARMv6: VFPv2 has none, and the one that IREE bundles for 32-bit Arm is empty.
//
// The product of two floats is exact in double (48 bits of 53). The sum is rounded to odd (Boldo and Melquiond 2008,
// "Emulation of FMA and correctly rounded sums"): if it is inexact and its last bit is even, it moves one step towards
// the lost part. A double rounded to odd rounds to the right float, subnormals included, because 53 >= 24 + 2.
#include <stdint.h>

typedef union {
  double value;
  uint64_t bits;
} Bits;

float fmaf(float a, float b, float c) {
  double product = (double)a * (double)b;
  double addend = c;
  Bits sum = {product + addend};
  if ((sum.bits >> 52 & 0x7FF) == 0x7FF) return (float)sum.value;  // infinite or not a number
  double part = sum.value - product;  // Knuth's TwoSum: `lost` is exactly what the addition rounded away
  double lost = (product - (sum.value - part)) + (addend - part);
  if (lost != 0.0 && !(sum.bits & 1)) sum.bits += (lost > 0.0) == (sum.value > 0.0) ? 1 : -1;
  return (float)sum.value;
}
