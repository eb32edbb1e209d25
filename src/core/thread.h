/*
 * The thread shim: the few things core needs from the platform's threads and clock.
 *
 * Provides: rsci_lock, rsci_thread, rsci_now_ns
 * Uses:     POSIX threads
 */
#ifndef RSCI_THREAD_H
#define RSCI_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef pthread_mutex_t rsci_lock;

static inline bool rsci_lock_init(rsci_lock *lock) {
  return pthread_mutex_init(lock, NULL) == 0;
}

static inline void rsci_lock_fini(rsci_lock *lock) {
  (void)pthread_mutex_destroy(lock);
}

static inline void rsci_lock_take(rsci_lock *lock) {
  (void)pthread_mutex_lock(lock);
}

static inline void rsci_lock_leave(rsci_lock *lock) {
  (void)pthread_mutex_unlock(lock);
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
  (void)pthread_cond_wait(condition, lock);
}

static inline void rsci_condition_wait_until(rsci_condition *condition, rsci_lock *lock, uint64_t until_ns) {
  const struct timespec until = {.tv_sec = (time_t)(until_ns / UINT64_C(1000000000)),
                                 .tv_nsec = (long)(until_ns % UINT64_C(1000000000))};
  (void)pthread_cond_timedwait(condition, lock, &until);
}

static inline void rsci_condition_tell_all(rsci_condition *condition) {
  (void)pthread_cond_broadcast(condition);
}

typedef pthread_t rsci_thread;

/* Starts a thread called `name` (15 characters) that gets no signals of the host's: only synchronous faults and
 * `let_through` (0: none). False: none could be had. */
bool rsci_thread_start(rsci_thread *thread, const char *name, int let_through, void *(*main)(void *), void *user);

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

/* The same, some milliseconds behind, for less. */
static inline uint64_t rsci_coarse_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * RSCI_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

#endif
