/*
 * The hosts: threads that make managers of all kinds, step those that want to be stepped, and end them, one after the
 * other, while clients use them.
 *
 * Provides: hosts_*
 * Uses:     model, actions, scripts
 * Threads:  any, but for begin and end
 */
#ifndef HOSTS_H
#define HOSTS_H

#include "model.h"

void hosts_begin(uint64_t seed);

/* They end what they have, and themselves. */
void hosts_end(void);

/* How many there are, and the manager of one, with a reference for the caller; NULL: it has none now. */
unsigned hosts_count(void);
life *hosts_borrow(unsigned number);

/* A manager has been used enough, or was shut down. */
void hosts_wake(void);

/* Whether this thread is a host's, in a step of this manager. */
bool hosts_is_stepping(const life *of);

/* In such a step, and where the host wants nothing more of it: gives back the host's own reference. */
void hosts_give_back_in_step(life *of);

#endif
