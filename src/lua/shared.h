/*
 * A manager's shared values as a Lua object.
 *
 * Provides: rsca.shared, m:shared()
 * Uses:     manager_proxy, object, error, core/manager_shared
 * Threads:  the state's own; the values are everybody's
 */
#ifndef RSCL_SHARED_H
#define RSCL_SHARED_H

#include "object.h"
#include "state.h"

/* Makes the type, and puts the object for the state's own manager into the module table on top. [-0, +0, m] */
void rscl_open_shared(lua_State *L, int box, rscl_state *state);

/* m:shared() */
int rscl_manager_shared(lua_State *L);

extern const rscl_type rscl_shared_type;

#endif
