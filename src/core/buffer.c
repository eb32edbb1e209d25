#include "buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t rsci_buffer_capacity(const rsci_buffer *buffer, size_t size) {
  enum { SMALLEST = 24, NEXT = 64 }; /* what malloc's smallest block has room for, and then powers of two */
  if (buffer->capacity == 0 && size <= SMALLEST)
    return SMALLEST;
  size_t capacity = buffer->capacity < NEXT ? NEXT : buffer->capacity;
  while (capacity < size)
    capacity = capacity > SIZE_MAX / 2 ? size : 2 * capacity;
  return capacity;
}

bool rsci_buffer_reserve(rsci_buffer *buffer, size_t size) {
  if (size <= buffer->capacity)
    return true;
  size_t capacity = rsci_buffer_capacity(buffer, size);
  char *data = realloc(buffer->data, capacity);
  if (!data)
    return false;
  buffer->data = data;
  buffer->capacity = capacity;
  return true;
}

bool rsci_buffer_append(rsci_buffer *buffer, const void *bytes, size_t size) {
  if (size == 0)
    return true;
  if (size > SIZE_MAX - buffer->size || !rsci_buffer_reserve(buffer, buffer->size + size))
    return false;
  memcpy(buffer->data + buffer->size, bytes, size);
  buffer->size += size;
  return true;
}
