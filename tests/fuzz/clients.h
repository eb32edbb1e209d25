/*
 * What clients do: on threads of their own, and from inside callbacks and actions.
 *
 * Provides: clients_*
 * Uses:     model, actions, hosts
 * Threads:  any
 */
#ifndef CLIENTS_H
#define CLIENTS_H

#include "model.h"

/* The body of a client's thread: this many deeds. */
void clients_run(uint64_t seed, unsigned deeds);

/* Where a callback or an action is when it is given the chance to misbehave. */
typedef enum moment { IN_ACTION, IN_RESPONSE, IN_END } moment;

/* Only calls that hold a reference to their manager do. */
void clients_misbehave(call *self, moment where);

/* A call of a native action by its interface, ready to be asked for: its callback is self->callback. NULL: this round
 * has had enough. */
call *clients_prepare(chance *luck, life *of, call_kind kind);

/* Notes that it may be looked for by those who cancel. */
void clients_note(call *self);

/* Its action's name; `room` is for 16. */
const char *clients_action_name(const call *self, char *room);

/* Shutdown, in one of its ways. */
HRESULT clients_shut_down(chance *luck, life *of);

#endif
