// What libgcc's division calls for a divisor of 0. Its own version raises a signal, which needs a C library; by Arm's
// run-time ABI (4.3.2) one may return a value instead. In MLIR the result of such a division is undefined.
int __aeabi_idiv0(int value) { return value; }
long long __aeabi_ldiv0(long long value) { return value; }
