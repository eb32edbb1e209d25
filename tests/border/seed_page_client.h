/*
 * A client written in C++ from the reference pages alone, for tests written in C.
 *
 * Threads: any. my_result_status and my_result_text are stable once my_result_calls has said 1 or more.
 */
#ifndef SEED_PAGE_CLIENT_H
#define SEED_PAGE_CLIENT_H

#include <Wpframework.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A new callback. Returned (+1); NULL when out of memory. */
ICustomActionResultCallback *my_result_create(void);

/* How many times ReportResult was called. This and the two below take only what my_result_create made; Borrowed. */
unsigned my_result_calls(ICustomActionResultCallback *callback);

/* The status of the first call; 0x8000000A (E_PENDING) before it. */
HRESULT my_result_status(ICustomActionResultCallback *callback);

/* The bytes of the first call with a NUL after them; "" before it. Lives as long as the callback. */
const char *my_result_text(ICustomActionResultCallback *callback);

/* How many callbacks are alive, over all threads. */
int my_result_alive(void);

#ifdef __cplusplus
}
#endif

#endif
