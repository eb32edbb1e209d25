/*
 * A budget: bytes that may be held at a time, counted and refused beyond a limit.
 *
 * Provides: rsci_budget, rsci_allowance
 * Uses:     refs
 * Threads:  any; an allowance: as its owner says
 */
#ifndef RSCI_BUDGET_H
#define RSCI_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "refs.h"

typedef struct rsci_budget rsci_budget;

struct rsci_budget {
  rsci_refs refs;
  rsci_budget *parent; /* counts the same bytes; held. NULL: none */
  size_t limit;
  _Atomic size_t used;
  atomic_bool refused; /* something was, since somebody last looked */
};

/* Holds `parent`, which may be NULL. Returned (+1); NULL: out of memory. */
rsci_budget *rsci_budget_create(size_t limit, rsci_budget *parent);

/* All of these take NULL: a budget without end, that counts nothing. */
void rsci_budget_hold(rsci_budget *budget);
void rsci_budget_release(rsci_budget *budget);

/* False: it would go beyond the limit, its own or that of a parent; nothing is charged. */
bool rsci_budget_charge(rsci_budget *budget, size_t bytes);
void rsci_budget_discharge(rsci_budget *budget, size_t bytes);
size_t rsci_budget_used(const rsci_budget *budget);

/* A block of `size` bytes for which `charge` is charged: whoever frees it discharges that. NULL: out of memory, or
 * beyond the budget. */
void *rsci_budget_allocate(rsci_budget *budget, size_t charge, size_t size);

/* What one owner has of a budget: charged in blocks, so that most of its changes cost nothing. */
typedef struct rsci_allowance {
  rsci_budget *budget; /* held */
  size_t charged;
} rsci_allowance;

/* Holds the budget. */
rsci_allowance rsci_allowance_of(rsci_budget *budget);

/* Makes it enough for `bytes` in all, and gives back what is far more. False: the budget has no more, and nothing has
 * changed. */
bool rsci_allowance_fit(rsci_allowance *allowance, size_t bytes);

/* Gives all back. */
void rsci_allowance_end(rsci_allowance *allowance);

#endif
