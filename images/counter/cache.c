/* A first-level data cache, which counts the accesses that it does not hold: 32 KiB of 8 ways with lines of 64 bytes.

   An access takes its line to the front of its set; the line that was not accessed for longest is the one to go. A
   store is as a load. An access over the end of a line is one access, and one miss at most. The cache is empty where
   the call before the last one begins. The bits that choose the set lie within a page of 4 KiB, so it does not matter
   where in memory the pages are. */
#include "plugin.h"

enum { LINE = 64, SETS = 64, WAYS = 8, BEGIN = 2 * (CALLS - 2), LAST = 2 * (CALLS - 1) };

/* Numbers of lines and 1 more, those of a set in the order of the last access; 0 is none. */
static uint64_t held[SETS][WAYS];
static uint64_t misses, before, after;
static bool looking;

static bool missed(uint64_t line) {
  uint64_t *set = held[line % SETS], other = set[0];
  if (other == line + 1) return false;
  set[0] = line + 1;
  for (unsigned way = 1; way < WAYS; way++) {
    uint64_t next = set[way];
    set[way] = other;
    if (next == line + 1) return false;
    other = next;
  }
  return true;
}

void cache_access(uint64_t address, uint64_t bytes) {
  if (!looking) return;
  uint64_t first = address / LINE, last = (address + bytes - 1) / LINE;
  bool miss = missed(first);
  if (last != first && missed(last)) miss = true;
  misses += miss;
}

void cache_mark(unsigned mark) {
  if (mark == BEGIN) looking = true;
  if (mark == LAST) before = misses;
  if (mark == LAST + 1) after = misses, looking = false;
}

void cache_write(FILE *file) { fprintf(file, "], \"d1_misses\": [%llu", (unsigned long long)(after - before)); }
