/*
 * Opening the module in a state, for require and for hosts.
 *
 * Provides: rscl_module_open, rscl_make_types
 */
#ifndef RSCL_MODULE_H
#define RSCL_MODULE_H

#include "state.h"

/* Pushes the module table of this state, made at the first time with `manager` (NULL: a new one) as the state's own.
 * RSCA_E_ALREADY_EXISTS: the state has another one of its own. [-0, +1, m]; on failure nothing useful is pushed */
HRESULT rscl_module_open(lua_State *L, rsca_manager *manager, struct rscl_worker *worker);

/* make_types(): all that scripts have objects of, with their methods, and the statuses: there to be looked at. */
int rscl_make_types(lua_State *L);

/* rsca_lua_open, for a worker of the manager where that is not NULL. */
HRESULT rscl_lua_open(lua_State *L, rsca_manager *manager, struct rscl_worker *worker);

#endif
