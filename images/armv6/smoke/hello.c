// libm, floats and stdio: enough to see whether a toolchain's C library runs on the CPU. The argument keeps the
// compiler from computing the answer itself.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
  double x = count > 1 ? atof(words[1]) : 2.0;
  printf("%.17g %.9g\n", sqrt(x), (double)expf((float)x / 2));
  return 0;
}
