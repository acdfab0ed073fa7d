// A board of QEMU with semihosting: start, heap, stack, ticks, and the few services of the host that a test needs.
#include "board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_limit[], stack_top[];
extern char heap_start[];

#define PAINT 0xA5A5A5A5u
#define CPACR (*(volatile uint32_t *)0xE000ED88)
#define CFSR (*(volatile uint32_t *)0xE000ED28)
#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)
#define SYST_RANGE 0x1000000u

static intptr_t service(int operation, const void *block) {
  register intptr_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void board_say(const char *text) { service(0x04, text); }

void board_exit(int status) {
  const uint32_t block[] = {0x20026, (uint32_t)status};  // ADP_Stopped_ApplicationExit
  service(0x20, block);
  for (;;) {
  }
}

int board_words(char *buffer, size_t size) {
  uint32_t block[] = {(uint32_t)(uintptr_t)buffer, size};
  return (int)service(0x15, block);
}

int board_open(const char *path, int write) {
  const uint32_t block[] = {(uint32_t)(uintptr_t)path, write ? 5 : 1, strlen(path)};
  return (int)service(0x01, block);
}

long board_length(int file) {
  const uint32_t block[] = {(uint32_t)file};
  return (long)service(0x0C, block);
}

int board_read(int file, void *data, size_t size) {
  const uint32_t block[] = {(uint32_t)file, (uint32_t)(uintptr_t)data, size};
  return (int)service(0x06, block);  // the bytes that are missing
}

int board_write(int file, const void *data, size_t size) {
  const uint32_t block[] = {(uint32_t)file, (uint32_t)(uintptr_t)data, size};
  return (int)service(0x05, block);
}

void board_shut(int file) {
  const uint32_t block[] = {(uint32_t)file};
  service(0x02, block);
}

// -- memory: the heap grows to the limit of the stack, and both say how far they came

static char *heap_end = heap_start;

void *_sbrk(ptrdiff_t bytes) {
  char *before = heap_end;
  if (bytes > (char *)stack_limit - before) {
    char text[112];
    snprintf(text, sizeof text, "firmware: the heap has %u bytes of %u, and %d more are asked for\n",
             (unsigned)(before - heap_start), (unsigned)((char *)stack_limit - heap_start), (int)bytes);
    board_say(text);
    errno = ENOMEM;
    return (void *)-1;
  }
  heap_end += bytes;
  return before;
}

size_t board_heap(void) { return (size_t)(heap_end - heap_start); }

size_t board_stack(void) {
  const uint32_t *word = stack_limit;
  while (word < stack_top && *word == PAINT) ++word;
  return (size_t)((const char *)stack_top - (const char *)word);
}

// -- ticks: the clock of the system, which has 24 bits and tells when they are used up

static volatile uint32_t wraps;

static void on_tick(void) { ++wraps; }

void board_ticks_begin(void) {
  wraps = 0;
  SYST_RVR = SYST_RANGE - 1;
  SYST_CVR = 0;
  SYST_CSR = 7;
}

uint64_t board_ticks_end(void) {
  uint32_t left = SYST_CVR;
  SYST_CSR = 0;
  uint32_t again = left ? SYST_RANGE - left : 0;
  return (uint64_t)wraps * SYST_RANGE + again;
}

// -- the start

static void on_fault(void) {
  char text[64];
  snprintf(text, sizeof text, "firmware: fault, CFSR %08x\n", (unsigned)CFSR);
  board_say(text);
  board_exit(FAULT_STATUS);
}

int main(void);

__attribute__((naked, noreturn)) void reset(void) {
  __asm__ volatile(
      "ldr r0, =stack_limit\n ldr r1, =stack_top\n ldr r2, =0xA5A5A5A5\n"
      "1: cmp r0, r1\n bhs 2f\n str r2, [r0]\n adds r0, #4\n b 1b\n"
      "2: bl begin\n");
}

__attribute__((used, noreturn)) void begin(void) {
#if defined(__ARM_FP)
  CPACR |= 0xFu << 20;
  __asm__ volatile("dsb\n isb");
#endif
  memcpy(data_start, data_load, (size_t)((char *)data_end - (char *)data_start));
  memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
  board_exit(main());
  __builtin_unreachable();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top, reset, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault,
    on_fault, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault, on_tick,
};

// -- what newlib asks of a system, and a program here does not need

void _exit(int status) { board_exit(status); for (;;) {} }
int _kill(int process, int signal) { (void)process; (void)signal; return -1; }
int _getpid(void) { return 1; }
int _write(int file, const char *data, int size) { (void)file; (void)data; return size; }
int _read(int file, char *data, int size) { (void)file; (void)data; (void)size; return 0; }
int _close(int file) { (void)file; return -1; }
int _lseek(int file, int offset, int whence) { (void)file; (void)offset; (void)whence; return 0; }
int _fstat(int file, void *status) { (void)file; (void)status; return -1; }
int _isatty(int file) { (void)file; return 1; }
