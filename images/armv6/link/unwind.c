// Personality routines that the Arm exception tables name. Nothing unwinds through an IREE dispatch; the references
// alone keep IREE's loader from loading it.
void __aeabi_unwind_cpp_pr0(void) {}
void __aeabi_unwind_cpp_pr1(void) {}
void __aeabi_unwind_cpp_pr2(void) {}
