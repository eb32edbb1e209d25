/*
 * Bytes that grow.
 *
 * Provides: rsci_buffer
 * Uses:     nothing
 * Threads:  none of its own
 */
#ifndef RSCI_BUFFER_H
#define RSCI_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that grow and are kept for the next use. All zero is empty. */
typedef struct rsci_buffer {
  char *data;
  size_t size, capacity;
} rsci_buffer;

/* What its capacity will be with room for `size` bytes in all. */
size_t rsci_buffer_capacity(const rsci_buffer *buffer, size_t size);

/* Makes room for `size` bytes in all. False: out of memory, and nothing changed. */
bool rsci_buffer_reserve(rsci_buffer *buffer, size_t size);
bool rsci_buffer_append(rsci_buffer *buffer, const void *bytes, size_t size);

#endif
