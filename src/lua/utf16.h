/*
 * UTF-16 in memory that Lua owns, for calling interfaces.
 *
 * Provides: rscl_push_utf16
 * Uses:     core/text, text_args
 */
#ifndef RSCL_UTF16_H
#define RSCL_UTF16_H

#include <lua.h>

#include <Wpframework.h>

#include "text_args.h"

/* Pushes a buffer with the text and its NUL; borrowed while the buffer is on the stack. `text` is well-formed UTF-8.
 * [-0, +1, m] */
PCWSTR rscl_push_utf16(lua_State *L, rscl_text text);

#endif
