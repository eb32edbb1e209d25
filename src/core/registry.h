/*
 * The registry: actions by name.
 *
 * Provides: rsci_action, rsci_registry
 * Uses:     engine
 * Threads:  none of its own; the caller holds the manager's lock, but for rsci_action_create and rsci_action_free
 */
#ifndef RSCI_REGISTRY_H
#define RSCI_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "budget.h"
#include "engine.h"

typedef struct rsci_action rsci_action;

struct rsci_action {
  size_t refs; /* the registry's and one per call; guarded by the manager's lock */
  char apart[RSCI_LINE_BYTES];
  rsci_action *next; /* in its bucket, or in a list of those to free */
  uint64_t hash;
  rsci_engine *engine; /* held */
  void *data;          /* the engine's */
  uint64_t slot;       /* the engine's */
  uint64_t number;     /* of its registration: tells it from others of its name; guarded by the manager's lock */
  uint64_t limit_ns;   /* its time limit; 0: the manager's, UINT64_MAX: none */
  size_t name_size;
  rsci_budget *account;     /* that all of this counts against; held */
  const char *help, *place; /* after the name */
  char name[];
};

typedef struct rsci_registry {
  rsci_action **buckets;
  size_t bucket_count; /* a power of two, or 0 */
  size_t count;
} rsci_registry; /* all zero is empty */

/* With one reference; holds the engine, and `account`, which may be NULL and is what it counts against. Strings are
 * copied. NULL: out of memory. */
rsci_action *rsci_action_create(rsci_engine *engine, const char *name, const char *help, const char *place,
                                rsci_budget *account);

/* Without telling the engine: for an action that never was registered. No lock held. */
void rsci_action_free(rsci_action *action);

/* Tells the engine and frees. For an action whose last reference is gone. No lock held. */
void rsci_action_forget(rsci_action *action);

rsci_action *rsci_registry_find(const rsci_registry *registry, const char *name, size_t size);

/* Makes room for one more. False: out of memory. */
bool rsci_registry_reserve(rsci_registry *registry);

/* Takes over the reference. Room was reserved and the name is free. */
void rsci_registry_put(rsci_registry *registry, rsci_action *action);

/* Takes it out; its reference is the caller's again. NULL: not there. */
rsci_action *rsci_registry_take(rsci_registry *registry, const char *name, size_t size);

/* Takes out those of an engine, as a list by `next`. */
rsci_action *rsci_registry_take_of(rsci_registry *registry, const rsci_engine *engine);

/* Takes all out, as a list by `next`. */
rsci_action *rsci_registry_take_all(rsci_registry *registry);

/* All actions, in `out` of `count` places. */
void rsci_registry_copy(const rsci_registry *registry, rsci_action **out);

void rsci_registry_fini(rsci_registry *registry);

#endif
