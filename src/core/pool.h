/*
 * A pool: the worker threads of a manager. Each has a runner of its own, and a context that runs the script's actions;
 * a call that has not started goes to whoever is free, and one that waits stays where it is.
 *
 * Provides: rsci_pool
 * Uses:     manager, service, native
 * Threads:  as each says
 */
#ifndef RSCI_POOL_H
#define RSCI_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rsca/manager.h>

#include "call.h"
#include "engine.h"
#include "runner.h"

typedef struct rsci_pool rsci_pool;

/* What runs the actions of a script in a worker. */
typedef struct rsci_script_ops {
  /* Makes a worker's context on its runner, with all the actions of the script. Returned (+1); NULL: it can't be had.
   * On the worker's thread; the first time on one of its own. */
  rsci_engine *(*open)(void *user, rsci_runner *runner);
  /* Whether who waits for the first one still wants it; asked now and then, on its thread. */
  bool (*is_wanted)(void *user);
  /* Ends it: everything in it goes. On the worker's thread, or where that never ran, on any. */
  void (*close)(void *user, rsci_engine *engine);
  /* No context is left, and none will be made. Any thread. */
  void (*free)(void *user);
} rsci_script_ops;

/* The manager's lock and runner are there already. NULL: out of memory. */
rsci_pool *rsci_pool_create(rsca_manager *manager, unsigned workers);
void rsci_pool_free(rsci_pool *pool);

/* Where native actions, and those of the script, are registered: engines that pass calls on to the workers. Borrowed.
 */
rsci_engine *rsci_pool_native(rsci_pool *pool);
rsci_engine *rsci_pool_script(rsci_pool *pool);

/* Makes the first context, and takes over `user`; calls that come meanwhile wait for it. Waits for that, as long as the
 * time limit of a call and some more. S_OK; RSCA_E_INVALID_STATE: threads run, or there is a script, or one that was
 * given up; RSCA_E_SHUTDOWN_IN_PROGRESS; E_FAIL: open gave none; E_OUTOFMEMORY; RSCA_E_TIMEOUT: it was given up, and
 * `user` is freed when it comes back. On another failure `user` is the caller's. After each the script's actions are
 * gone. No lock held. */
HRESULT rsci_pool_load(rsci_pool *pool, const rsci_script_ops *ops, void *user);

/* Whether a script may register actions: its first context is being made. Under the manager's lock. */
bool rsci_pool_takes_actions(const rsci_pool *pool);

/* Makes sure that the threads run, or will once a script is loaded. False: none could be had. No lock held. */
bool rsci_pool_start(rsci_pool *pool);

/* On the service's thread: replaces workers and shuts down. Returns when it wants to be called again. */
uint64_t rsci_pool_attend(rsci_pool *pool);

/* The service ends: what was posted to it is dropped, and what others post is refused. On its thread. */
void rsci_pool_close(rsci_pool *pool);

/* After a shutdown: no thread of it is left, but for what is stuck. */
bool rsci_pool_is_done(rsci_pool *pool);

/* A worker does not answer any more: it gets no more calls, its other calls end, and another takes its place. On the
 * service's thread. */
void rsci_pool_set_aside(rsci_pool *pool, rsci_runner *runner);

/* A worker is of no more use: it gets no more calls, those that wait in it end with its context, and another takes its
 * place. On its own thread. */
void rsci_pool_retire(rsci_pool *pool, const rsci_runner *runner);

/* Whether this is the thread of one of its workers. */
bool rsci_pool_is_worker(const rsci_pool *pool);

/* Whether this is one of its workers, or its service. */
bool rsci_pool_is_here(rsci_pool *pool);

/* In the child of a fork: its threads are the parent's, and so is all that they were at. The queue stays. */
void rsci_pool_leave_behind(rsci_pool *pool);

/* Whether it is the parent's of a fork still. */
bool rsci_pool_is_inherited(rsci_pool *pool);

/* Closes what the script has in workers whose threads were never started, in a shutdown. */
void rsci_pool_discard(rsci_pool *pool);

/* How many workers take calls, and how many were set aside and have not come back. */
void rsci_pool_count(rsci_pool *pool, size_t *workers, size_t *stuck);

#endif
