/*
 * The shared values of a manager: rsca/shared.h.
 */
#include "manager_shared.h"

#include <stdlib.h>

rsci_shared *rsci_manager_peek_shared(rsca_manager *manager) {
  return atomic_load_explicit(&manager->shared, memory_order_acquire);
}

rsci_shared *rsci_manager_shared(rsca_manager *manager) {
  rsci_shared *there = rsci_manager_peek_shared(manager);
  if (there)
    return there;
  rsci_shared *made = rsci_shared_create(manager->config.shared_bytes, manager->calls.account);
  if (made && !atomic_compare_exchange_strong(&manager->shared, &there, made)) {
    rsci_shared_destroy(made); /* another thread was faster */
    return there;
  }
  return made;
}

/* ---- The host's side ---- */

static bool is_key(const void *key, size_t size) {
  return key && size > 0;
}

static const rsca_value nil = {.kind = RSCA_NIL};

static bool is_value(const rsca_value *value) {
  return (unsigned)value->kind <= RSCA_STRING && (value->kind != RSCA_STRING || value->bytes || value->size == 0);
}

static uint64_t to_ns(uint64_t lifetime_ms) {
  return lifetime_ms == 0 || lifetime_ms > UINT64_MAX / RSCI_NS_PER_MS ? RSCI_FOREVER : lifetime_ms * RSCI_NS_PER_MS;
}

HRESULT rsca_shared_get(rsca_manager *manager, const void *key, size_t key_size, rsca_value *out) {
  if (!out)
    return E_INVALIDARG;
  *out = nil;
  if (!manager || !is_key(key, key_size))
    return E_INVALIDARG;
  rsci_shared *shared = rsci_manager_peek_shared(manager);
  return shared ? rsci_shared_get(shared, (rsci_bytes){key, key_size}, out) : S_FALSE;
}

HRESULT rsca_shared_set(rsca_manager *manager, const void *key, size_t key_size, const rsca_value *value,
                        uint64_t lifetime_ms) {
  value = value ? value : &nil;
  if (!manager || !is_key(key, key_size) || !is_value(value))
    return E_INVALIDARG;
  rsci_shared *shared = rsci_manager_shared(manager);
  return shared ? rsci_shared_set(shared, (rsci_bytes){key, key_size}, value, to_ns(lifetime_ms)) : E_OUTOFMEMORY;
}

HRESULT rsca_shared_add(rsca_manager *manager, const void *key, size_t key_size, const rsca_value *amount,
                        uint64_t lifetime_ms, rsca_value *sum) {
  const rsca_value added = amount ? *amount : nil; /* the sum may be wanted in its place */
  rsca_value unwanted;
  sum = sum ? sum : &unwanted;
  *sum = nil;
  if (!manager || !is_key(key, key_size) || (added.kind != RSCA_INTEGER && added.kind != RSCA_FLOAT))
    return E_INVALIDARG;
  rsci_shared *shared = rsci_manager_shared(manager);
  return shared ? rsci_shared_add(shared, (rsci_bytes){key, key_size}, &added, to_ns(lifetime_ms), sum) : E_OUTOFMEMORY;
}

HRESULT rsca_shared_compare_and_set(rsca_manager *manager, const void *key, size_t key_size, const rsca_value *expected,
                                    const rsca_value *value, uint64_t lifetime_ms, rsca_value *current) {
  if (current && (current == expected || current == value))
    return E_INVALIDARG;
  if (current)
    *current = nil;
  expected = expected ? expected : &nil;
  value = value ? value : &nil;
  if (!manager || !is_key(key, key_size) || !is_value(expected) || !is_value(value))
    return E_INVALIDARG;
  rsci_shared *shared = rsci_manager_shared(manager);
  if (!shared)
    return E_OUTOFMEMORY;
  rsca_value there;
  HRESULT status =
      rsci_shared_compare_and_set(shared, (rsci_bytes){key, key_size}, expected, value, to_ns(lifetime_ms), &there);
  if (current)
    *current = there;
  else
    rsca_value_release(&there);
  return status;
}

HRESULT rsca_shared_remove(rsca_manager *manager, const void *key, size_t key_size) {
  if (!manager || !is_key(key, key_size))
    return E_INVALIDARG;
  rsci_shared *shared = rsci_manager_peek_shared(manager);
  return shared ? rsci_shared_remove(shared, (rsci_bytes){key, key_size}) : S_FALSE;
}

HRESULT rsca_shared_keys(rsca_manager *manager, void (*visit)(void *user, const void *key, size_t key_size),
                         void *user) {
  if (!manager || !visit)
    return E_INVALIDARG;
  rsci_shared *shared = rsci_manager_peek_shared(manager);
  if (!shared)
    return S_OK;
  rsci_keys *keys = rsci_shared_keys(shared);
  if (!keys)
    return E_OUTOFMEMORY;
  for (size_t i = 0; i < keys->count; i++)
    visit(user, keys->keys[i].data, keys->keys[i].size);
  free(keys);
  return S_OK;
}
