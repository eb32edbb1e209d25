/*
 * Text that scripts hand in: checked as the interfaces need it.
 *
 * Provides: rscl_check_name, rscl_check_args, rscl_text_status, rscl_hex
 * Uses:     core/text
 */
#ifndef RSCL_TEXT_ARGS_H
#define RSCL_TEXT_ARGS_H

#include <stddef.h>

#include <lua.h>

#include <rsca/status.h>

typedef struct rscl_text {
  const char *data; /* borrowed from the Lua string at its index */
  size_t size;
} rscl_text;

/* An action's name: a string, not empty, UTF-8, no NUL. Raises, naming the argument. [-0, +0, v] */
rscl_text rscl_check_name(lua_State *L, int arg);

/* A call's arguments: a string or a number, or nothing for "". Raises likewise. [-0, +0, v] */
rscl_text rscl_check_args(lua_State *L, int arg);

/* The same as a status, for the documented methods: S_OK, E_INVALIDARG (a NUL inside) or
 * RSCA_E_NO_UNICODE_TRANSLATION. */
HRESULT rscl_text_status(rscl_text text);

/* Name, arguments and callback of a documented method, from index 2 on: S_OK where they can be passed on. Raises for
 * wrong types of the texts only. [-0, +0, v] */
HRESULT rscl_check_documented(lua_State *L, rscl_text *name, rscl_text *args);

/* Eight hexadecimal digits. */
typedef struct rscl_hex_text {
  char digits[9];
} rscl_hex_text;
rscl_hex_text rscl_hex(HRESULT status);

#endif
