/*
 * Userdata of our own: metatables kept under the addresses of statics.
 *
 * Provides: rscl_object_*
 * Uses:     memory, state
 *
 * A state that does nothing yet is small: a type's metatable is made with its first object, and its methods when one is
 * first asked for any.
 */
#ifndef RSCL_OBJECT_H
#define RSCL_OBJECT_H

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

/* One per type; its address names the metatable in the registry. */
typedef struct rscl_type {
  const char *name;     /* for messages */
  const luaL_Reg *meta; /* metamethods */
  const luaL_Reg *methods;
  lua_CFunction index; /* NULL: __index is the table of methods; else this, with the methods as second upvalue */
} rscl_type;

/* Makes the metatable; every function gets the box at index `box` as its first upvalue. For types that are needed
 * before the box is the universe's. [-0, +0, m] */
void rscl_object_open(lua_State *L, const rscl_type *type, int box);

/* Sets the metatable of the userdata on top, which owns nothing yet. [-0, +0, m] */
void rscl_object_set_type(lua_State *L, const rscl_type *type);

/* The userdata at `index` if it is of that type, else NULL. [-0, +0, -] */
void *rscl_object_test(lua_State *L, int index, const rscl_type *type);

/* The same, raising a message that names the argument. [-0, +0, v] */
void *rscl_object_check(lua_State *L, int arg, const rscl_type *type);

/* Makes the metatable and the methods, so that they are there to be looked at. [-0, +0, m] */
void rscl_object_make_methods(lua_State *L, const rscl_type *type, int box);

/* What an object of ours owns is not in the object: Lua frees that without calling its finalizer where there is no
 * memory for the call, and calls none for objects that are made while a state closes. So the box keeps a list, and
 * drops what is left when it is finalized itself; from then on no object owns anything. */
typedef struct rscl_owned {
  struct rscl_owned *next, **link; /* NULL: not on the list */
  void (*drop)(struct rscl_owned *owned);
} rscl_owned;

typedef struct rscl_owned_list {
  rscl_owned *first;
  bool dropped;
} rscl_owned_list;

/* What is in the userdata of such an object. */
typedef struct rscl_owner {
  const rscl_owned_list *list;
  rscl_owned *owned; /* NULL: nothing yet, or nothing any more */
} rscl_owner;

/* Pushes an object that owns nothing yet. [-0, +1, m] */
rscl_owner *rscl_owner_push(lua_State *L, rscl_owned_list *list, int user_values, const rscl_type *type);

/* Never fails. `drop` is called once, when the object is finalized or later. */
void rscl_own(rscl_owned_list *list, rscl_owner *owner, rscl_owned *owned, void (*drop)(rscl_owned *owned));

/* Pushes an object that owns `size` bytes, all zero, whose first member is their rscl_owned: `drop` frees them. Where
 * there is no memory it raises, and nothing is owned. [-0, +1, m] */
void *rscl_push_owned(lua_State *L, rscl_owned_list *list, int user_values, const rscl_type *type, size_t size,
                      void (*drop)(rscl_owned *owned));

/* NULL: nothing. */
rscl_owned *rscl_owned_by(const rscl_owner *owner);

/* Its finalizer has come, or it owns nothing any more: drops what it owns, if anything. */
void rscl_disown(rscl_owner *owner);

/* For the metatables of those that scripts never see. */
int rscl_owner_gc(lua_State *L);

/* Drops all that is left. */
void rscl_drop_owned(rscl_owned_list *list);

#endif
