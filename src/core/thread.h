/*
 * The thread shim: the few things core needs from the platform's threads and clock.
 *
 * Provides: rsci_lock, rsci_thread, rsci_now_ns
 * Uses:     fork.h, POSIX threads
 */
#ifndef RSCI_THREAD_H
#define RSCI_THREAD_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "fork.h"

/* In the child of a fork a lock is free when it is first asked for: who held it is not in that process. */
typedef struct rsci_lock {
  pthread_mutex_t mutex;
  _Atomic unsigned forks; /* the process that it is of; RSCI_LOCK_CHANGES: not clear yet */
} rsci_lock;

#define RSCI_LOCK_CHANGES UINT_MAX

/* False: out of memory. */
bool rsci_lock_init(rsci_lock *lock);

static inline void rsci_lock_fini(rsci_lock *lock) {
  (void)pthread_mutex_destroy(&lock->mutex);
}

/* Makes it one of this process. */
void rsci_lock_inherit(rsci_lock *lock);

static inline void rsci_lock_take(rsci_lock *lock) {
  if (atomic_load_explicit(&lock->forks, memory_order_acquire) != rsci_forks())
    rsci_lock_inherit(lock);
  (void)pthread_mutex_lock(&lock->mutex);
}

static inline void rsci_lock_leave(rsci_lock *lock) {
  (void)pthread_mutex_unlock(&lock->mutex);
}

typedef pthread_cond_t rsci_condition;

/* Its times are monotonic. */
static inline bool rsci_condition_init(rsci_condition *condition) {
  pthread_condattr_t attributes;
  if (pthread_condattr_init(&attributes) != 0)
    return false;
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  bool made = pthread_cond_init(condition, &attributes) == 0;
  (void)pthread_condattr_destroy(&attributes);
  return made;
}

static inline void rsci_condition_fini(rsci_condition *condition) {
  (void)pthread_cond_destroy(condition);
}

/* With the lock taken. May return early. */
static inline void rsci_condition_wait(rsci_condition *condition, rsci_lock *lock) {
  (void)pthread_cond_wait(condition, &lock->mutex);
}

static inline void rsci_condition_wait_until(rsci_condition *condition, rsci_lock *lock, uint64_t until_ns) {
  const struct timespec until = {.tv_sec = (time_t)(until_ns / UINT64_C(1000000000)),
                                 .tv_nsec = (long)(until_ns % UINT64_C(1000000000))};
  (void)pthread_cond_timedwait(condition, &lock->mutex, &until);
}

static inline void rsci_condition_tell_all(rsci_condition *condition) {
  (void)pthread_cond_broadcast(condition);
}

/* A processor that writes takes the whole line of memory from the others: what one writes for each call, and another
 * writes or looks at as often, lies so far apart. */
#define RSCI_LINE_BYTES 64

/* How many processors this process may use. */
unsigned rsci_processors(void);

typedef pthread_t rsci_thread;

/* In a loop that waits for another thread: leaves the processor's other half more. */
static inline void rsci_thread_pause(void) {
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

/* Blocks while `word` is `value`, until it is woken or it is `until_ns` (UINT64_MAX: never). May return early. False: a
 * signal handler ran. */
bool rsci_thread_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns);

/* Wakes the thread that sleeps on `word`, after that was changed. It may be gone by now, and the word with it. */
void rsci_thread_wake(_Atomic uint32_t *word);

/* From here on what this thread waits for comes in time, and not together with what comes soon after. */
void rsci_thread_be_punctual(void);

/* Starts a thread that gets no signals of the host's: only synchronous faults and `let_through` (0: none). False: none
 * could be had. */
bool rsci_thread_start(rsci_thread *thread, int let_through, void *(*main)(void *), void *user);

/* Names this thread (15 characters). From another one that would take a file of /proc. */
static inline void rsci_thread_set_name(const char *name) {
  (void)pthread_setname_np(pthread_self(), name);
}

static inline rsci_thread rsci_thread_self(void) {
  return pthread_self();
}

static inline bool rsci_thread_is_self(rsci_thread thread) {
  return pthread_equal(thread, pthread_self()) != 0;
}

#define RSCI_NS_PER_MS UINT64_C(1000000)
#define RSCI_NS_PER_SECOND UINT64_C(1000000000)

/* Monotonic time. */
static inline uint64_t rsci_now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * RSCI_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* The same, up to RSCI_COARSE_NS behind, for less. */
#define RSCI_COARSE_NS (10 * RSCI_NS_PER_MS)
static inline uint64_t rsci_coarse_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * RSCI_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

#endif
