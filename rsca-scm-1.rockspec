-- In a checkout: luarocks-5.4 make. It takes a C compiler and CMake.
rockspec_format = "3.0"
package = "rsca"
version = "scm-1"
source = {
  url = ".", -- it has no public address yet
}
description = {
  summary = "Run-time status and control for long-running programs, scripted in Lua",
  detailed = [[
A running program is asked for data, or told to do something, by name: actions are Lua functions, their results come
back through callbacks. For plain Lua, any event loop, and hosts in C and C++.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4" }
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    RSCA_MODULE_ONLY = "ON",
    RSCA_LUA_INCLUDE_DIR = "$(LUA_INCDIR)",
    RSCA_INSTALL_CMODULE_DIR = "$(LIBDIR)",
    RSCA_INSTALL_LUA_DIR = "$(LUADIR)",
  },
}
