/*
 * Reference counts.
 *
 * Provides: rsci_refs
 * Uses:     nothing
 * Threads:  any
 */
#ifndef RSCI_REFS_H
#define RSCI_REFS_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct rsci_refs {
  _Atomic uint32_t count;
} rsci_refs;

static inline void rsci_refs_init(rsci_refs *refs) {
  atomic_init(&refs->count, 1);
}

/* Both return the updated count. */
static inline uint32_t rsci_refs_add(rsci_refs *refs) {
  return atomic_fetch_add_explicit(&refs->count, 1, memory_order_relaxed) + 1;
}

static inline uint32_t rsci_refs_drop(rsci_refs *refs) {
  if (atomic_load_explicit(&refs->count, memory_order_acquire) == 1) { /* nobody else is there who could add */
    atomic_store_explicit(&refs->count, 0, memory_order_relaxed);
    return 0;
  }
  return atomic_fetch_sub_explicit(&refs->count, 1, memory_order_acq_rel) - 1;
}

static inline uint32_t rsci_refs_count(rsci_refs *refs) {
  return atomic_load_explicit(&refs->count, memory_order_acquire);
}

#endif
