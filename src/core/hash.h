/*
 * A keyed hash: without the key nobody can tell which bytes meet in a table. For keys that strangers may choose.
 *
 * Provides: rsci_hash_key, rsci_hash
 * Uses:     thread
 * Threads:  any
 */
#ifndef RSCI_HASH_H
#define RSCI_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct rsci_hash_key {
  uint64_t words[2];
} rsci_hash_key;

/* One that can't be guessed. */
rsci_hash_key rsci_hash_key_create(void);

/* SipHash-2-4. */
uint64_t rsci_hash(const rsci_hash_key *key, const void *bytes, size_t size);

#endif
