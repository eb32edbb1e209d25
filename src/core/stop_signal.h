/*
 * The stop signal: how a thread that runs somebody's code is asked to look up from it. A realtime signal, directed to
 * that thread, whose handler calls what the thread has set.
 *
 * Provides: rsci_stop_*
 * Uses:     thread
 * Threads:  any
 */
#ifndef RSCI_STOP_SIGNAL_H
#define RSCI_STOP_SIGNAL_H

#include "thread.h"

/* The signal: the first realtime signal that nobody handles. Its handler is installed at the first time, for good. 0:
 * there is none left. */
int rsci_stop_signal(void);

/* What its handler calls on this thread, with `user`: async-signal-safe. NULL: nothing. Returns what it was. */
typedef struct rsci_stop_target {
  void (*interrupted)(void *user);
  void *user;
} rsci_stop_target;
rsci_stop_target rsci_stop_set_target(rsci_stop_target target);

/* Sends it. The thread must be there. False: there is none to send. */
bool rsci_stop_send(rsci_thread thread);

/* For a thread that waits for its handler to have run, but may have it blocked: takes it then. */
void rsci_stop_take_blocked(void);

#endif
