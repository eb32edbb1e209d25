/*
 * Numbers by chance that a seed brings back.
 *
 * Provides: chance
 * Threads:  each has its own
 */
#ifndef CHANCE_H
#define CHANCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct chance {
  uint64_t state;
} chance;

/* Mixes its bits until nothing is left of their order. */
static inline uint64_t chance_mix(uint64_t value) {
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

static inline uint64_t chance_next(chance *self) {
  return chance_mix(self->state += UINT64_C(0x9e3779b97f4a7c15));
}

/* From two numbers a seed that belongs to both. */
static inline chance chance_of(uint64_t seed, uint64_t part) {
  return (chance){chance_mix(seed ^ chance_mix(part + 1))};
}

/* From 0 to count - 1. */
static inline unsigned chance_below(chance *self, unsigned count) {
  return (unsigned)((chance_next(self) >> 32) * count >> 32);
}

static inline unsigned chance_between(chance *self, unsigned least, unsigned most) {
  return least + chance_below(self, most - least + 1);
}

static inline bool chance_one_in(chance *self, unsigned count) {
  return chance_below(self, count) == 0;
}

#endif
