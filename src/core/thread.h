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

typedef pthread_t rsci_thread;

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

#endif
