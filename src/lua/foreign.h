/*
 * Managers that somebody else implemented, as Lua objects: a script runs and subscribes to their actions. They may
 * report from any thread, late, twice or never.
 *
 * Provides: rscl_custom_actions_type, rscl_custom_actions2_type
 * Uses:     native_proxy, callback, request, subscription
 * Threads:  the state's own
 */
#ifndef RSCL_FOREIGN_H
#define RSCL_FOREIGN_H

#include "object.h"

extern const rscl_type rscl_custom_actions_type;
extern const rscl_type rscl_custom_actions2_type;

#endif
