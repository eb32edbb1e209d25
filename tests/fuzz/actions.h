/*
 * The actions in C, and the thread that ends what they leave pending and opens the gates that they wait at.
 *
 * Provides: actions_*
 * Uses:     model, clients
 * Threads:  any
 */
#ifndef ACTIONS_H
#define ACTIONS_H

#include "model.h"

/* Starts that thread, and ends it: it goes on until there is nothing left for it to do. */
void actions_begin(uint64_t seed);
void actions_end(void);

/* From here on nothing is left pending for longer than it takes. */
void actions_hurry(void);

/* Gives a manager its actions in C. */
void actions_register(life *of);

/* Replaces one of the names that come and go, or takes it away. */
void actions_register_dynamic(chance *luck, life *of);
const char *actions_dynamic_name(unsigned number);

/* Blocks until the thread says so. */
void actions_wait_at_gate(call *self);

#endif
