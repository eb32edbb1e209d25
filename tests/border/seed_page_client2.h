/*
 * What the tests do with the callback for registrations that was written from the reference pages alone. It is a class:
 * this is all they see.
 */
#ifndef SEED_PAGE_CLIENT2_H
#define SEED_PAGE_CLIENT2_H

#include <Wpframework.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One reference, the caller's. NULL when out of memory. */
ICustomAction2ResultCallback *my_responses_create(void);

/* How many reports it answers with S_OK, and one more with ERROR_CANCELLED; 0: all with S_OK. */
void my_responses_want(ICustomAction2ResultCallback *callback, unsigned most);

/* What it heard: how many ends, the last status, the responses with a ';' after each, the bytes of the end. */
unsigned my_responses_ends(ICustomAction2ResultCallback *callback);
HRESULT my_responses_status(ICustomAction2ResultCallback *callback);
const char *my_responses_text(ICustomAction2ResultCallback *callback);
const char *my_responses_why(ICustomAction2ResultCallback *callback);

/* How many there are. */
int my_responses_alive(void);

#ifdef __cplusplus
}
#endif

#endif
