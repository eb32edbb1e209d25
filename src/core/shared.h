/*
 * A table that threads share: values by key, some of them for a time. The host's side is in rsca/shared.h, and says
 * what each of these does.
 *
 * Provides: rsci_shared
 * Uses:     budget, hash, timers, refs, thread
 * Threads:  any, but for create and destroy
 */
#ifndef RSCI_SHARED_H
#define RSCI_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rsca/shared.h>

#include "budget.h"

typedef struct rsci_shared rsci_shared;

typedef struct rsci_bytes {
  const void *data;
  size_t size;
} rsci_bytes;

/* `lifetime_ns` of a value that stays. */
#define RSCI_FOREVER UINT64_MAX

/* Memory that it takes besides keys and strings: for a key, and for a string. They count, too. */
extern const size_t rsci_shared_key_bytes, rsci_shared_string_bytes;

/* What it holds counts against `account` too, held, which may be NULL. NULL: out of memory. */
rsci_shared *rsci_shared_create(size_t limit_bytes, rsci_budget *account);
void rsci_shared_destroy(rsci_shared *shared);

/* Keys are not empty, and values are one of the kinds. What is returned in a value is for rsca_value_release. */
HRESULT rsci_shared_get(rsci_shared *shared, rsci_bytes key, rsca_value *out);
HRESULT rsci_shared_set(rsci_shared *shared, rsci_bytes key, const rsca_value *value, uint64_t lifetime_ns);
HRESULT rsci_shared_add(rsci_shared *shared, rsci_bytes key, const rsca_value *amount, uint64_t lifetime_ns,
                        rsca_value *sum);
HRESULT rsci_shared_compare_and_set(rsci_shared *shared, rsci_bytes key, const rsca_value *expected,
                                    const rsca_value *value, uint64_t lifetime_ns, rsca_value *current);
HRESULT rsci_shared_remove(rsci_shared *shared, rsci_bytes key);

/* The keys of one moment, ordered by their bytes. One block of memory, for free(); NULL: out of memory. */
typedef struct rsci_keys {
  size_t count;
  rsci_bytes keys[];
} rsci_keys;
rsci_keys *rsci_shared_keys(rsci_shared *shared);

/* What it holds, all that counts, expired values that are not given back yet included. For tests. */
size_t rsci_shared_bytes(rsci_shared *shared);

#endif
