# What is installed, and the shared libraries, which nothing in this tree links:
#
#   librsca        the manager and its C API                  rsca::rsca      rsca::rsca_static      rsca.pc
#   librsca_lua    its Lua half; Lua comes from the host      rsca::rsca_lua  rsca::rsca_lua_static  rsca-lua.pc
#   rsca/core.so   the module, for any Lua 5.4: all in one, needs neither of them

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(RSCA_INSTALL_CMODULE_DIR ${CMAKE_INSTALL_LIBDIR}/lua/5.4 CACHE STRING "Where Lua finds modules in C")
set(RSCA_INSTALL_LUA_DIR ${CMAKE_INSTALL_DATADIR}/lua/5.4 CACHE STRING "Where Lua finds modules in Lua")

# ---- The module ----
install(TARGETS rsca_module LIBRARY DESTINATION ${RSCA_INSTALL_CMODULE_DIR}/rsca)
install(DIRECTORY lua/rsca/ DESTINATION ${RSCA_INSTALL_LUA_DIR}/rsca
        FILES_MATCHING PATTERN "*.lua" PATTERN annotations EXCLUDE)
# For editors, which take the folder for a library; Lua itself shall not find it.
install(DIRECTORY lua/rsca/annotations DESTINATION ${CMAKE_INSTALL_DATADIR}/rsca FILES_MATCHING PATTERN "*.lua")

if(RSCA_MODULE_ONLY)
  set_target_properties(rsca_core rsca_lua rsca_lua_objects PROPERTIES EXCLUDE_FROM_ALL ON)
  return()
endif()

# ---- The shared libraries ----
# Before 1.0 every minor version may break what was built with the one before.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  set(compatibility SameMinorVersion)
else()
  set(soversion ${PROJECT_VERSION_MAJOR})
  set(compatibility SameMajorVersion)
endif()

# The Lua half calls functions of the core that are no API, so these can't be hidden as they are in the archive. They
# are exported under a version of their own, that of exactly this release: with any other librsca, librsca_lua does
# not load.
configure_file(cmake/librsca.map.in librsca.map @ONLY)
add_library(rsca_shared SHARED ${core_sources})
rsca_core_sources(rsca_shared)
target_compile_definitions(rsca_shared INTERFACE ${form_definitions})
set_target_properties(rsca_shared PROPERTIES OUTPUT_NAME rsca C_VISIBILITY_PRESET default
                                             LINK_DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/librsca.map)
target_link_options(rsca_shared PRIVATE -Wl,--version-script=${CMAKE_CURRENT_BINARY_DIR}/librsca.map)
if(NOT RSCA_SANITIZE)
  target_link_options(rsca_shared PRIVATE -Wl,-z,defs)
endif()

# What RSCA_API marks, and nothing else.
add_library(rsca_lua_shared SHARED $<TARGET_OBJECTS:rsca_lua_objects>)
set_target_properties(rsca_lua_shared PROPERTIES OUTPUT_NAME rsca_lua INSTALL_RPATH "$ORIGIN")
target_link_libraries(rsca_lua_shared PUBLIC rsca_shared PRIVATE rsca_options Threads::Threads)

foreach(target rsca_shared rsca_lua_shared)
  set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${soversion})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
  # As with the module, objects that were handed out need their code for as long as anybody has them. And each calls its
  # own functions, whatever the program has under the same names.
  target_link_options(${target} PRIVATE -Wl,-z,nodelete -Wl,-Bsymbolic)
endforeach()

# ---- Targets, for find_package ----
# Two cores in one program would not know each other's objects: CMake refuses to link a target with both kinds.
set_target_properties(rsca_core rsca_lua PROPERTIES INTERFACE_RSCA_LINKAGE static)
set_target_properties(rsca_shared rsca_lua_shared PROPERTIES INTERFACE_RSCA_LINKAGE shared)
set_property(TARGET rsca_core rsca_lua rsca_shared rsca_lua_shared APPEND PROPERTY COMPATIBLE_INTERFACE_STRING
                                                                                   RSCA_LINKAGE)

set_target_properties(rsca_shared PROPERTIES EXPORT_NAME rsca)
set_target_properties(rsca_lua_shared PROPERTIES EXPORT_NAME rsca_lua)
set_target_properties(rsca_core PROPERTIES EXPORT_NAME rsca_static)
set_target_properties(rsca_lua PROPERTIES EXPORT_NAME rsca_lua_static)

install(FILES LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS rsca_shared rsca_lua_shared rsca_core rsca_lua EXPORT rsca
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rsca)
configure_package_config_file(cmake/rscaConfig.cmake.in rscaConfig.cmake INSTALL_DESTINATION ${package_dir}
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(rscaConfigVersion.cmake COMPATIBILITY ${compatibility})
install(EXPORT rsca NAMESPACE rsca:: FILE rscaTargets.cmake DESTINATION ${package_dir})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/rscaConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/rscaConfigVersion.cmake
        DESTINATION ${package_dir})

# ---- pkg-config ----
# The prefix may be said as late as with cmake --install --prefix, so the files find it from where they are.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" to_prefix "${to_prefix}")
  set(pc_prefix "\${pcfiledir}/${to_prefix}")
endif()
foreach(dir LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    set(pc_${dir} ${CMAKE_INSTALL_${dir}})
  else()
    set(pc_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
set(pc_form "")
if(RSCA_SDK_REPORTRESULT)
  set(pc_form " -DRSCA_SDK_REPORTRESULT=1")
endif()
foreach(name rsca rsca-lua)
  configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
