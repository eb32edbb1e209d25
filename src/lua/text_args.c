#include "text_args.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "core/text.h"

HRESULT rscl_text_status(rscl_text text) {
  if (memchr(text.data, '\0', text.size))
    return E_INVALIDARG;
  return rsci_utf8_valid(text.data, text.size) ? S_OK : RSCA_E_NO_UNICODE_TRANSLATION;
}

static void check(lua_State *L, int arg, rscl_text text, const char *what) {
  HRESULT status = rscl_text_status(text);
  if (status == E_INVALIDARG)
    luaL_argerror(L, arg, lua_pushfstring(L, "%s without a NUL byte expected", what));
  if (status == RSCA_E_NO_UNICODE_TRANSLATION)
    luaL_argerror(L, arg, lua_pushfstring(L, "%s in UTF-8 expected, got bytes that are not well formed", what));
}

rscl_text rscl_check_name(lua_State *L, int arg) {
  rscl_text name = {NULL, 0};
  if (lua_type(L, arg) != LUA_TSTRING)
    luaL_typeerror(L, arg, "action name (a string)");
  name.data = lua_tolstring(L, arg, &name.size);
  luaL_argcheck(L, name.size > 0, arg, "action name expected, got an empty string");
  check(L, arg, name, "action name");
  return name;
}

rscl_text rscl_check_args(lua_State *L, int arg) {
  rscl_text args = {"", 0};
  int type = lua_type(L, arg);
  if (type <= LUA_TNIL)
    return args;
  if (type != LUA_TSTRING && type != LUA_TNUMBER)
    luaL_typeerror(L, arg, "arguments (a string)");
  args.data = lua_tolstring(L, arg, &args.size);
  check(L, arg, args, "arguments");
  return args;
}

HRESULT rscl_check_documented(lua_State *L, rscl_text *name, rscl_text *args) {
  *name = *args = (rscl_text){"", 0};
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TSTRING);
    name->data = lua_tolstring(L, 2, &name->size);
  }
  if (!lua_isnoneornil(L, 3))
    args->data = luaL_checklstring(L, 3, &args->size);
  if (name->size == 0 || lua_isnoneornil(L, 4))
    return E_INVALIDARG;
  HRESULT status = rscl_text_status(*name);
  return FAILED(status) ? status : rscl_text_status(*args);
}

rscl_hex_text rscl_hex(HRESULT status) {
  rscl_hex_text hex;
  (void)snprintf(hex.digits, sizeof hex.digits, "%08X", (unsigned)status);
  return hex;
}
