#include "base64.h"

#include <stdint.h>
#include <stdlib.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *cli_base64(const void *bytes, size_t size) {
  const unsigned char *in = bytes;
  if (size > SIZE_MAX / 2)
    return NULL;
  char *text = malloc((size + 2) / 3 * 4 + 1);
  if (!text)
    return NULL;
  char *out = text;
  for (size_t i = 0; i < size; i += 3) {
    const size_t left = size - i;
    const uint32_t group =
        (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? (uint32_t)in[i + 2] : 0);
    *out++ = digits[group >> 18];
    *out++ = digits[group >> 12 & 63];
    *out++ = '=';
    *out++ = '=';
    if (left > 1)
      out[-2] = digits[group >> 6 & 63];
    if (left > 2)
      out[-1] = digits[group & 63];
  }
  *out = '\0';
  return text;
}
