#include "budget.h"

#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES ((size_t)4096)

rsci_budget *rsci_budget_create(size_t limit, rsci_budget *parent) {
  rsci_budget *budget = malloc(sizeof *budget);
  if (!budget)
    return NULL;
  rsci_refs_init(&budget->refs);
  rsci_budget_hold(parent);
  budget->parent = parent;
  budget->limit = limit;
  atomic_init(&budget->used, 0);
  atomic_init(&budget->refused, false);
  return budget;
}

void rsci_budget_hold(rsci_budget *budget) {
  if (budget)
    (void)rsci_refs_add(&budget->refs);
}

void rsci_budget_release(rsci_budget *budget) {
  if (!budget || rsci_refs_drop(&budget->refs) > 0)
    return;
  rsci_budget_release(budget->parent);
  free(budget);
}

static bool add(rsci_budget *budget, size_t bytes) {
  size_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
  do {
    if (bytes > budget->limit || used > budget->limit - bytes) {
      atomic_store_explicit(&budget->refused, true, memory_order_relaxed);
      return false;
    }
  } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes, memory_order_relaxed,
                                                  memory_order_relaxed));
  return true;
}

static void take(rsci_budget *budget, size_t bytes) {
  (void)atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

bool rsci_budget_charge(rsci_budget *budget, size_t bytes) {
  if (!budget || bytes == 0)
    return true;
  if (!add(budget, bytes))
    return false;
  if (rsci_budget_charge(budget->parent, bytes))
    return true;
  take(budget, bytes);
  return false;
}

void rsci_budget_discharge(rsci_budget *budget, size_t bytes) {
  for (; budget && bytes > 0; budget = budget->parent)
    take(budget, bytes);
}

size_t rsci_budget_used(const rsci_budget *budget) {
  return budget ? atomic_load_explicit(&budget->used, memory_order_relaxed) : 0;
}

void *rsci_budget_allocate(rsci_budget *budget, size_t charge, size_t size) {
  if (!rsci_budget_charge(budget, charge))
    return NULL;
  void *block = malloc(size);
  if (!block)
    rsci_budget_discharge(budget, charge);
  return block;
}

rsci_allowance rsci_allowance_of(rsci_budget *budget) {
  rsci_budget_hold(budget);
  return (rsci_allowance){.budget = budget};
}

/* In whole blocks. */
static size_t blocks_of(size_t bytes) {
  return bytes > SIZE_MAX - BLOCK_BYTES ? SIZE_MAX : (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

bool rsci_allowance_fit(rsci_allowance *allowance, size_t bytes) {
  if (!allowance->budget)
    return true;
  if (bytes > allowance->charged) {
    size_t more = blocks_of(bytes) - allowance->charged;
    if (!rsci_budget_charge(allowance->budget, more))
      return false;
    allowance->charged += more;
  } else if (bytes + 2 * BLOCK_BYTES < allowance->charged && bytes < allowance->charged / 2) {
    size_t less = allowance->charged - blocks_of(bytes);
    rsci_budget_discharge(allowance->budget, less);
    allowance->charged -= less;
  }
  return true;
}

void rsci_allowance_end(rsci_allowance *allowance) {
  rsci_budget_discharge(allowance->budget, allowance->charged);
  rsci_budget_release(allowance->budget);
  *allowance = (rsci_allowance){0};
}
