// fmaxf and fminf as C defines them: of a number and a NaN, the number.
float fmaxf(float a, float b) { return a != a ? b : b != b ? a : a < b ? b : a; }
float fminf(float a, float b) { return a != a ? b : b != b ? a : b < a ? b : a; }
