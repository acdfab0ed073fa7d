// What IREE's runtime and flatcc are told of a machine without an operating system; every file is compiled with it.
#ifndef FIRMWARE_CONFIG_H
#define FIRMWARE_CONFIG_H

#define IREE_PLATFORM_GENERIC 1
#define IREE_FILE_IO_ENABLE 0
#define IREE_TIME_NOW_FN return 0;             // nothing of the local-sync device asks for the time
#define IREE_WAIT_UNTIL_FN(deadline_ns) (true)  // and nothing waits: all work is done when a call returns
#define FLATCC_USE_GENERIC_ALIGNED_ALLOC 1      // newlib's aligned_alloc calls posix_memalign, which it lacks

#if !defined(__ASSEMBLER__)
#include <inttypes.h>
#endif

#endif  // FIRMWARE_CONFIG_H
