/*
 * Requests: calls that somebody awaits.
 *
 * Provides: rscl_request, the request object, call
 * Uses:     fiber, object, error
 * Threads:  the state's own; hold, release and the sink's drop: any
 */
#ifndef RSCL_REQUEST_H
#define RSCL_REQUEST_H

#include "fiber.h"
#include "object.h"
#include "state.h"
#include "text_args.h"

typedef struct rscl_request {
  rscl_owned owned;  /* by its object, where it has one */
  rsci_refs refs;    /* the object's, the sink's, and one per fiber that waits */
  rscl_state *state; /* held */
  uint64_t id;       /* of the call */
  rscl_waiters waiters;
  bool done;
  HRESULT status;
  rsci_buffer buffer; /* owns the bytes, where they are not constant */
  size_t charged;     /* bytes of that which count as the state's memory */
  const char *bytes;
  size_t size;
} rscl_request;

void rscl_request_release(rscl_request *request);

/* Gives it its result, copied, and wakes those who wait; on the state's thread. */
void rscl_request_complete(rscl_request *request, HRESULT status, const void *bytes, size_t size);

/* Whose action is meant: `proxy` is the index of one of our managers', or, `foreign`, of somebody else's. What it
 * stands for is asked last of all: a finalizer may close it before. */
typedef struct rscl_target {
  int proxy;
  bool foreign;
  uint64_t limit_ns; /* the call's own; 0: none */
} rscl_target;

/* run(name [, args]) without a callback: pushes a request, or nil, err. */
int rscl_request_run(lua_State *L, rscl_state *state, rscl_target target, rscl_text name, rscl_text args);

/* call(name [, args]): waits, and pushes response [, status], or nil, err. `name_index`: where the name is. */
int rscl_request_call(lua_State *L, rscl_state *state, rscl_target target, int name_index, rscl_text args);

extern const rscl_type rscl_request_type;

#endif
