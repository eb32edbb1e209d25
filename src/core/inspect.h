/*
 * Looking at calls while they run: what there is, how old it is, and where it is just now.
 *
 * Provides: rsci_inspected, rsci_snapshot, rsca_manager_running, rsca_manager_cut_calls
 * Uses:     manager
 * Threads:  any
 */
#ifndef RSCI_INSPECT_H
#define RSCI_INSPECT_H

#include <rsca/manager.h>

#include "call.h"

typedef struct rsci_snapshot rsci_snapshot;

/* One call. */
typedef struct rsci_inspected {
  rsci_task task;              /* its engine's, to look at it on its own thread; it holds the snapshot */
  struct rsci_inspected *next; /* of those that an engine was asked for; its own */
  rsci_snapshot *snapshot;
  rsca_call *call; /* held; NULL: detached */
  char *name;      /* owned, then */
  rsca_call_info info;
  atomic_bool told; /* the engine has looked */
  char *traceback;  /* owned; NULL: it has not, or there is none */
  char args[64];
} rsci_inspected;

struct rsci_snapshot {
  rsci_refs refs;
  rsci_lock lock;
  rsci_condition told;
  size_t waiting; /* for engines to look; the lock */
  size_t count;
  rsci_inspected calls[];
};

/* All calls that have not ended, oldest first, and their age; not yet where they are. Returned (+1); NULL: out of
 * memory.
 */
rsci_snapshot *rsci_snapshot_take(rsca_manager *manager);
void rsci_snapshot_release(rsci_snapshot *snapshot);

/* What a shutdown has cut. Returned (+1); NULL: nothing yet. */
rsci_snapshot *rsci_snapshot_of_cut(rsca_manager *manager);

/* Lets the calls themselves go, and keeps what was seen of them. */
void rsci_snapshot_detach(rsci_snapshot *snapshot);

/* Asks the engines where the calls are, but for `except`, whose thread this is; waits a moment for them. No lock held.
 */
void rsci_snapshot_ask(rsci_snapshot *snapshot, const rsci_engine *except);

/* For engines: it has looked; takes over the text, NULL: there is none. Once. */
void rsci_inspected_tell(rsci_inspected *inspected, char *traceback);

#endif
