// A board of QEMU: files and words of the host by semihosting, and what the program used of the memory.
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

#define FAULT_STATUS 86

void board_say(const char *text);
void board_exit(int status);

// The words that the program was started with, in one line. 0 if they fit.
int board_words(char *buffer, size_t size);

int board_open(const char *path, int write);  // below 0: there is no such file
long board_length(int file);
int board_read(int file, void *data, size_t size);         // the bytes that are missing
int board_write(int file, const void *data, size_t size);  // likewise
void board_shut(int file);

// The most bytes that heap and stack have had so far.
size_t board_heap(void);
size_t board_stack(void);

void board_ticks_begin(void);
uint64_t board_ticks_end(void);

#endif  // BOARD_H
