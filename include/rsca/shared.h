/*
 * Shared values: what all who hold a manager share, its Lua states, its actions in C and the host.
 *
 *   rsca_value one = rsca_value_integer(1);
 *   rsca_shared_add(manager, "requests", 8, &one, 0, NULL);   // whoever else counts
 *
 *   rsca_value level;
 *   rsca_shared_get(manager, "level", 5, &level);             // a string, or whatever else was set
 *   rsca_value_release(&level);
 *
 * A key is any bytes, but not none. A value is a string of any bytes, an integer, a float or a boolean; nil stands for
 * a value that is not there. An integer stays one, and a float stays one.
 *
 * Every function here is atomic: as if all were called one after the other. A value whose time is over is not there any
 * more, from that moment on; its memory is given back by the calls that follow, whatever they are about.
 *
 * Memory: keys, strings and about 100 bytes more for each key take at most `shared_bytes` of rsca_config.
 * Threads: any; may be called from an action and from a callback, before and after a shutdown.
 * Blocking: nothing here blocks for longer than others need for the same.
 * Words: as in rsca/manager.h.
 */
#ifndef RSCA_SHARED_H
#define RSCA_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Wpframework.h>
#include <rsca/export.h>
#include <rsca/manager.h>
#include <rsca/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rsca_kind { RSCA_NIL, RSCA_BOOLEAN, RSCA_INTEGER, RSCA_FLOAT, RSCA_STRING } rsca_kind;

/* All zero is nil. */
typedef struct rsca_value {
  rsca_kind kind;
  union {
    bool boolean;
    int64_t integer;
    double number;
    const void *bytes; /* of a string; may be NULL where size is 0 */
  };
  size_t size; /* of a string */
  void *held;  /* the library's: what keeps the bytes of a string that it has returned. Otherwise NULL */
} rsca_value;

/* Values to hand in. The bytes of a string are Borrowed for the call that it is handed to. */

static inline rsca_value rsca_value_nil(void) {
  rsca_value value;
  value.kind = RSCA_NIL;
  value.integer = 0;
  value.size = 0;
  value.held = NULL;
  return value;
}

static inline rsca_value rsca_value_boolean(bool boolean) {
  rsca_value value = rsca_value_nil();
  value.kind = RSCA_BOOLEAN;
  value.boolean = boolean;
  return value;
}

static inline rsca_value rsca_value_integer(int64_t integer) {
  rsca_value value = rsca_value_nil();
  value.kind = RSCA_INTEGER;
  value.integer = integer;
  return value;
}

static inline rsca_value rsca_value_float(double number) {
  rsca_value value = rsca_value_nil();
  value.kind = RSCA_FLOAT;
  value.number = number;
  return value;
}

static inline rsca_value rsca_value_string(const void *bytes, size_t size) {
  rsca_value value = rsca_value_nil();
  value.kind = RSCA_STRING;
  value.bytes = bytes;
  value.size = size;
  return value;
}

/* Gives back a value that was returned, and makes it nil. Its string is valid until then, whatever becomes of the key.
 * Harmless on one that holds nothing. */
RSCA_API void rsca_value_release(rsca_value *value);

/*
 * Parameters that all have in common:
 *
 *   key, key_size  Copied
 *   value          Copied; NULL: nil
 *   lifetime_ms    how long the value is there; 0: until it is replaced or removed
 *
 * Whatever is returned in a value is Returned, for rsca_value_release; nil on failure. Such a pointer may be NULL where
 * it is not the point of the function.
 *
 * All answer E_INVALIDARG where the manager or the key is NULL, the key is empty, or a value is not one of these kinds.
 * E_OUTOFMEMORY: there is no memory for it, or shared_bytes is reached; nothing was changed.
 */

/* S_OK; S_FALSE: it is not there, `*out` is nil; E_INVALIDARG, also where out is NULL. */
RSCA_API HRESULT rsca_shared_get(rsca_manager *manager, const void *key, size_t key_size, rsca_value *out);

/* Puts the value in the place of any other; nil removes. S_OK, E_INVALIDARG, E_OUTOFMEMORY. */
RSCA_API HRESULT rsca_shared_set(rsca_manager *manager, const void *key, size_t key_size, const rsca_value *value,
                                 uint64_t lifetime_ms);

/*
 * Adds a number; a key that is not there counts as the integer 0. Two integers give an integer, which wraps around;
 * otherwise the sum is a float. `lifetime_ms` is for a key that was not there: one that is keeps its time.
 *
 * `*sum`: the new value. S_OK; E_INVALIDARG, also where `amount` is no number; RSCA_E_INVALID_DATA: what is there is no
 * number; E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_shared_add(rsca_manager *manager, const void *key, size_t key_size, const rsca_value *amount,
                                 uint64_t lifetime_ms, rsca_value *sum);

/*
 * As rsca_shared_set, but only where `expected` is there: nil, where nothing is. Numbers are equal as in Lua, whatever
 * their kind; NaN is equal to NaN.
 *
 * S_OK: done. S_FALSE: something else is there, `*current`; nothing was changed. E_INVALIDARG, also where `current` is
 * one of the other two, which may hold something; E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_shared_compare_and_set(rsca_manager *manager, const void *key, size_t key_size,
                                             const rsca_value *expected, const rsca_value *value, uint64_t lifetime_ms,
                                             rsca_value *current);

/* S_OK; S_FALSE: it was not there; E_INVALIDARG. */
RSCA_API HRESULT rsca_shared_remove(rsca_manager *manager, const void *key, size_t key_size);

/* Calls `visit` for each key that was there at one moment, ordered by their bytes; each is Borrowed for the call, which
 * may call these functions. S_OK, E_INVALIDARG, E_OUTOFMEMORY (none was visited). */
RSCA_API HRESULT rsca_shared_keys(rsca_manager *manager, void (*visit)(void *user, const void *key, size_t key_size),
                                  void *user);

#ifdef __cplusplus
}
#endif

#endif
