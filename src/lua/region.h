/*
 * Where the first small blocks of a worker's state come from: one piece of memory, in which they lie without gaps and
 * headers. What opening the state takes would be a quarter larger otherwise, and take longer.
 *
 * Provides: rscl_region
 * Uses:     nothing
 * Threads:  the state's own
 */
#ifndef RSCL_REGION_H
#define RSCL_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Under a sanitizer each block is malloc's: it tells of what is used after it was freed. */
#if defined __SANITIZE_ADDRESS__
enum { RSCL_REGION_BYTES = 0 };
#else
enum { RSCL_REGION_BYTES = 18 * 1024 };
#endif

enum { RSCL_REGION_STEP = 8, RSCL_REGION_MOST = 256 }; /* sizes of blocks are rounded to the first; none is larger */

typedef struct rscl_free_block {
  struct rscl_free_block *next;
} rscl_free_block;

typedef struct rscl_region {
  char *start;
  size_t size, used;
  rscl_free_block *free[RSCL_REGION_MOST / RSCL_REGION_STEP]; /* by size */
} rscl_region;                                                /* all zero has nothing */

/* It may have nothing, where there is no memory for it. */
void rscl_region_init(rscl_region *region);
void rscl_region_fini(rscl_region *region);

static inline bool rscl_region_has(const rscl_region *region, const void *block) {
  return (uintptr_t)block - (uintptr_t)region->start < region->size;
}

static inline size_t rscl_region_class(size_t size) {
  return (size - 1) / RSCL_REGION_STEP;
}

/* NULL: it has none of that size (not 0). */
static inline void *rscl_region_take(rscl_region *region, size_t size) {
  if (size > RSCL_REGION_MOST)
    return NULL;
  size_t class = rscl_region_class(size);
  rscl_free_block *block = region->free[class];
  if (block) {
    region->free[class] = block->next;
    return block;
  }
  size_t bytes = (class + 1) * RSCL_REGION_STEP;
  if (bytes > region->size - region->used)
    return NULL;
  void *fresh = region->start + region->used;
  region->used += bytes;
  return fresh;
}

/* `size`: what was asked for, or less. */
static inline void rscl_region_give(rscl_region *region, void *block, size_t size) {
  rscl_free_block *freed = block;
  size_t class = rscl_region_class(size);
  freed->next = region->free[class];
  region->free[class] = freed;
}

#endif
