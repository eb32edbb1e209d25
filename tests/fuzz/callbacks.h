/*
 * The callbacks: functions, and objects whose references are counted.
 *
 * Provides: callbacks_*
 * Uses:     model, clients
 * Threads:  any
 */
#ifndef CALLBACKS_H
#define CALLBACKS_H

#include "model.h"

/* Makes its object one of its kind. */
void callbacks_init(call *self);

/* rsca_result_fn; `user` is a call. */
void callbacks_result(void *user, HRESULT status, const void *response, size_t size, bool final);

#endif
