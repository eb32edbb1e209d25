/*
 * The manager, as the engines see it; the host's side is in rsca/manager.h.
 *
 * Provides: rsci_manager_*
 * Uses:     call, health, native
 * Threads:  as each says
 */
#ifndef RSCI_MANAGER_H
#define RSCI_MANAGER_H

#include <rsca/manager.h>

#include "call.h"
#include "health.h"
#include "native.h"
#include "registry.h"
#include "pool.h"
#include "runner.h"
#include "service.h"

/* Told when something outside may have stopped needing the manager: a reference was given back, or the last call in
 * flight has ended. Lives until rsci_manager_unwatch. */
typedef struct rsci_watch {
  struct rsci_watch *next;
  void (*changed)(struct rsci_watch *watch); /* any thread, with the watches' lock held: may only post */
} rsci_watch;

typedef enum rsci_manager_phase { RSCI_OPEN, RSCI_DRAINING, RSCI_DOWN } rsci_manager_phase;

enum { RSCI_MOST_WORKERS = 1024 };

struct rsci_shared;
struct rsci_snapshot;

struct rsca_manager {
  rsci_refs refs;
  IPmCustomActions custom_actions;   /* its interfaces: they share the count */
  IPmCustomActions2 custom_actions2; /* of the default session */
  IProtocolManager protocol_manager;
  IPmHealthAndIdleMonitor health_monitor;
  rsca_config config;      /* no zeros left */
  rsci_budget *budget;     /* for responses; held */
  rsci_runner *runner;     /* held */
  rsci_engine *native;     /* held; with a pool, its front */
  rsci_pool *pool;         /* NULL: none */
  atomic_bool threads_run; /* those that it needs so far */
  rsci_service service;
  uint64_t limit_ns;                  /* the time limit; UINT64_MAX: none */
  _Atomic uint64_t shortest_limit_ns; /* that was ever asked for */
  rsci_heir heir;

  struct rsci_snapshot *cut_calls;      /* what a shutdown has cut; the lock; NULL: nothing yet */
  _Atomic(struct rsci_shared *) shared; /* made when it is first used, see rsci_manager_shared */

  rsci_lock lock; /* Protects what follows; nothing else is locked inside it */
  rsci_registry registry;
  uint64_t registered; /* how often an action has been */
  rsci_calls calls;
  rsci_session default_session;
  rsci_health health;
  rsci_manager_phase state;
  bool shutdown_posted;
  bool finalized; /* by its last owner, see rsci_manager_finalize */

  rsci_task shutdown_task; /* does what the state says, on the thread that steps */
  rsci_task drain_task;    /* the end of a drain's time */
  rsci_alarm drain_alarm;  /* thread that steps; keeps the manager while it is set */

  rsci_lock watches_lock; /* Protects the list; taken alone */
  rsci_watch *watches;
  atomic_size_t watch_count;
};

/* Like rsca_manager_create, on a runner that others use too. Holds `runner`, and `account`: what all that the manager
 * has counts against; NULL: nothing. */
HRESULT rsci_manager_create(rsci_runner *runner, const rsca_config *config, rsci_budget *account, rsca_manager **out);

/* Keeps it alive across something that may give back its last reference, and what follows from that. No lock held. */
void rsci_manager_keep(rsca_manager *manager);
void rsci_manager_unkeep(rsca_manager *manager);

/* Registers `action`, in place of `expected` (NULL: the name is free). Takes over the reference on S_OK.
 * RSCA_E_ALREADY_EXISTS: another one is there; RSCA_E_SHUTDOWN_IN_PROGRESS, E_OUTOFMEMORY. */
HRESULT rsci_manager_put(rsca_manager *manager, rsci_action *action, const rsci_action *expected);

/* The action of that name, with a reference for rsci_manager_drop_action; NULL: none. */
rsci_action *rsci_manager_find(rsca_manager *manager, const char *name, size_t size);
void rsci_manager_drop_action(rsca_manager *manager, rsci_action *action);
/* The same for a list that was taken out of the registry. */
void rsci_manager_drop_actions(rsca_manager *manager, rsci_action *actions);

/* The number of the registration that stands under that name; 0: none. A later one has a higher number. */
uint64_t rsci_manager_registration(rsca_manager *manager, const char *name, size_t size);

/* rsca_manager_unregister with a length. */
HRESULT rsci_manager_take(rsca_manager *manager, const char *name, size_t size);

/* Accepts and posts a call. The arguments are well-formed UTF-8; a name that is not is not found, or refused otherwise.
 * `session`: of a registration by name, else NULL. */
HRESULT rsci_manager_run(rsca_manager *manager, rsci_session *session, const char *name, size_t name_size,
                         const char *args, size_t args_size, const rsci_sink *sink, uint64_t *id);

/* Ends the session's registration of that name as unregistered. RSCA_E_NOT_FOUND. */
HRESULT rsci_manager_unregister_name(rsca_manager *manager, rsci_session *session, const char *name, size_t size);

/* The session goes; its registrations go on. */
void rsci_manager_leave_session(rsca_manager *manager, rsci_session *session);

/* Shutdown(TRUE) that ends no call on this stack, but in the following steps. */
void rsci_manager_cut_later(rsca_manager *manager);

/* Says that the last reference is about to be given back by a finalizer: it ends no call on its stack. */
void rsci_manager_finalize(rsca_manager *manager);

rsci_manager_phase rsci_manager_state(rsca_manager *manager);

/* Makes sure that its threads run, one for time limits too. */
bool rsci_manager_start_threads(rsca_manager *manager);

/* Calls that nobody has ended, whether or not those that have were told. */
size_t rsci_manager_unended(rsca_manager *manager);

/* Tells the watches that something has changed. */
void rsci_manager_tell_watches(rsca_manager *manager);

/* Takes away the actions of an engine, and cancels their calls, none of which has begun. `why`: constant. */
void rsci_manager_forget_engine(rsca_manager *manager, const rsci_engine *engine, const char *why);

/* Ends the calls that have begun on that runner, which does not answer any more. */
void rsci_manager_end_calls_on(rsca_manager *manager, const rsci_runner *runner);

/* From here on whatever the call does it does until `due_ns` at most. Harmless when it has ended. */
void rsci_manager_expect_end(rsca_manager *manager, rsca_call *call, uint64_t due_ns);

/* Calls accepted and not yet ended. */
size_t rsci_manager_live(rsca_manager *manager);

/* Of these, the ones that keep a script's proxy alive: all but those whose sink hangs on it. */
size_t rsci_manager_needing(rsca_manager *manager);

/* Whether it takes calls, and somebody is there to run them. */
bool rsci_manager_is_healthy(rsca_manager *manager);

void rsci_manager_watch(rsca_manager *manager, rsci_watch *watch);
void rsci_manager_unwatch(rsca_manager *manager, rsci_watch *watch);

/* The manager of a call. */
rsca_manager *rsci_manager_of_call(const rsca_call *call);

/* The consumer of a registration does not want any more; harmless when it has ended. */
void rsci_manager_refuse(rsca_manager *manager, uint64_t id);

/* The manager whose interface this is, or NULL where it is somebody else's. */
rsca_manager *rsci_manager_of_custom_actions(IPmCustomActions *actions);
rsca_manager *rsci_manager_of_custom_actions2(IPmCustomActions2 *actions); /* a default session's */

#endif
