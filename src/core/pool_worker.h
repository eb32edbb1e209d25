/*
 * What a pool and its workers are made of, for the three rooms of the pool: pool.c, what the workers do; pool_load.c,
 * how a script is loaded; pool_service.c, what the service's thread does about them.
 *
 * Provides: rsci_worker, rsci_pool's fields
 * Uses:     pool, manager
 * Threads:  as each says
 */
#ifndef RSCI_POOL_WORKER_H
#define RSCI_POOL_WORKER_H

#include "manager.h"

typedef struct rsci_worker rsci_worker;

struct rsci_worker {
  rsci_worker *next_idle;
  rsci_pool *pool;
  rsci_thread thread;
  size_t number;        /* for its name */
  rsci_runner *runner;  /* held */
  rsci_engine *native;  /* held */
  rsci_engine *script;  /* held; NULL: not open */
  atomic_bool retiring; /* takes no more calls */
  bool serving;         /* takes calls: a step made while its context is opened or closed does not; its thread */
  /* The pool's lock: */
  bool idle, started, exited, set_aside, detached;
  /* The service's: what it saw of its progress, and since when that has not changed. */
  unsigned seen_progress;
  uint64_t seen_ns;
};

/* Calls by pool_next. */
typedef struct rsci_pool_queue {
  rsca_call *head, *tail;
} rsci_pool_queue;

/* An engine that passes calls on. */
typedef struct rsci_pool_front {
  rsci_engine engine;
  rsci_pool *pool;
} rsci_pool_front;

struct rsci_pool {
  rsca_manager *manager;
  size_t wanted;
  rsci_pool_front *native_front, *script_front; /* held */
  const rsci_script_ops *script;                /* NULL: none */
  void *script_user;
  unsigned forks; /* the process that its threads are of */

  /* The service's thread. */
  bool cut, ending;
  atomic_bool done;
  uint64_t drain_ns, kill_ns;

  char before_arrived[RSCI_LINE_BYTES];
  _Atomic(rsca_call *) arrived; /* accepted and not in a queue yet, newest first; pushed by any thread */
  atomic_uint looking;          /* workers that look around for a call: one finds it, or wakes another */
  _Atomic(rsci_worker *) idle;  /* changed with the lock */
  char after_arrived[RSCI_LINE_BYTES];

  rsci_lock lock;            /* Protects what follows */
  atomic_size_t queued;      /* in the queues; seen without the lock, too */
  rsci_pool_queue queues[2]; /* of others' calls, and of those that its own threads made */
  bool own_turn;             /* whose turn it is */
  bool started;
  atomic_bool loading; /* its script is being loaded: threads wait for that */
  atomic_bool gave_up; /* on a script that did not come back: there will be no other */
  bool start_wanted;
  uint64_t retry_ns, retry_after_ns; /* when a worker is made again, and how long after one that failed */
  size_t count, capacity;
  rsci_worker *workers[]; /* all there ever were */
};

/* In the child of a fork: makes the queues of the calls that wait for a worker, whatever a thread of the parent was
 * about to do to them. Pool's lock held. */
void rsci_pool_rebuild_queues(rsci_pool *pool);

/* One that is not started yet. NULL: out of memory. */
rsci_worker *rsci_worker_create(rsci_pool *pool);

/* Its thread has ended, or never was. */
void rsci_worker_free(rsci_worker *w);

/* False: there is no thread to be had. Pool's lock held. */
bool rsci_worker_start(rsci_worker *w, size_t number);

/* Ends what the script has in it. On its thread, or where that never ran, on any. */
void rsci_worker_close_script(rsci_worker *w);

/* Makes this thread one of the pool's. */
void rsci_pool_enter(const rsci_pool *pool);

#endif
