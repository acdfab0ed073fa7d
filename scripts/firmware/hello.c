// A program on a board without an operating system: the square root of two in double, e in float.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "board.h"

// newlib's small printf has no floating point.
static void say(double value, int digits) {
  char text[32];
  long long scale = 1;
  for (int i = 0; i < digits; ++i) scale *= 10;
  long long all = (long long)(value * (double)scale + 0.5);
  snprintf(text, sizeof text, "%ld.%0*ld ", (long)(all / scale), digits, (long)(all % scale));
  board_say(text);
}

int main(void) {
  static char words[128];
  if (board_words(words, sizeof words)) return 2;
  volatile double two = 2;
  volatile float one = 1;
  say(sqrt(two), 8);
  say(expf(one), 6);
  board_say("\n");
  return 0;
}
