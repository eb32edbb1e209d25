#include "text.h"

#include <string.h>

_Static_assert(sizeof(WCHAR) == 2, "a word is taken for four code units");

/* ASCII is passed in blocks of this many characters. */
#define BLOCK 8

/* By memcpy, since text may start at any address. */
static uint64_t load(const void *from) {
  uint64_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

/* The masks hold what is not ASCII, in either byte order. */
static bool block_is_ascii(const unsigned char *bytes) {
  return (load(bytes) & UINT64_C(0x8080808080808080)) == 0;
}

static bool wide_block_is_ascii(PCWSTR units) {
  return ((load(units) | load(units + 4)) & UINT64_C(0xFF80FF80FF80FF80)) == 0;
}

/* `restrict`, so that compilers make one instruction or two of these. */
static void narrow(const WCHAR *restrict units, char *restrict bytes) {
  for (size_t i = 0; i < BLOCK; i++)
    bytes[i] = (char)units[i];
}

static void widen(const unsigned char *restrict bytes, WCHAR *restrict units) {
  for (size_t i = 0; i < BLOCK; i++)
    units[i] = bytes[i];
}

/* UTF-16. */

static bool is_surrogate(uint32_t unit) {
  return (unit & 0xF800) == 0xD800;
}

static bool is_high(uint32_t unit) {
  return (unit & 0xFC00) == 0xD800;
}

static bool is_low(uint32_t unit) {
  return (unit & 0xFC00) == 0xDC00;
}

/* A unit at a time: words would read past the terminator. */
size_t rsci_utf16_length(PCWSTR text) {
  size_t units = 0;
  while (text[units] != 0)
    units++;
  return units;
}

size_t rsci_utf16_to_utf8_size(PCWSTR text, size_t units) {
  size_t size = 0;
  size_t at = 0;
  while (at < units) {
    if (units - at >= BLOCK && wide_block_is_ascii(text + at)) {
      size += BLOCK;
      at += BLOCK;
      continue;
    }
    uint32_t unit = text[at++];
    if (unit < 0x80) {
      size += 1;
    } else if (unit < 0x800) {
      size += 2;
    } else if (!is_surrogate(unit)) {
      size += 3;
    } else if (is_high(unit) && at < units && is_low(text[at])) {
      size += 4;
      at++;
    } else {
      return RSCI_MALFORMED;
    }
  }
  return size;
}

/* The byte that carries the six bits of `code` from bit `shift` on. */
static char continuation(uint32_t code, unsigned shift) {
  return (char)(0x80 | (code >> shift & 0x3F));
}

void rsci_utf16_to_utf8(PCWSTR text, size_t units, char *out) {
  size_t at = 0;
  while (at < units) {
    if (units - at >= BLOCK && wide_block_is_ascii(text + at)) {
      narrow(text + at, out);
      out += BLOCK;
      at += BLOCK;
      continue;
    }
    uint32_t code = text[at++];
    if (code < 0x80) {
      *out++ = (char)code;
    } else if (code < 0x800) {
      *out++ = (char)(0xC0 | code >> 6);
      *out++ = continuation(code, 0);
    } else if (!is_surrogate(code)) {
      *out++ = (char)(0xE0 | code >> 12);
      *out++ = continuation(code, 6);
      *out++ = continuation(code, 0);
    } else {
      code = 0x10000 + ((code & 0x3FF) << 10 | (text[at++] & 0x3FFu));
      *out++ = (char)(0xF0 | code >> 18);
      *out++ = continuation(code, 12);
      *out++ = continuation(code, 6);
      *out++ = continuation(code, 0);
    }
  }
}

/* UTF-8. */

/* Bytes of the well-formed sequence that `text` starts with, or 0. `size` is at least 1. */
static size_t sequence_size(const unsigned char *text, size_t size) {
  unsigned lead = text[0];
  size_t length;
  /* What the second byte may be. Narrower after the leads that could otherwise start an overlong form, a surrogate or
   * something above U+10FFFF. */
  unsigned least = 0x80;
  unsigned most = 0xBF;
  if (lead < 0x80)
    return 1;
  if (lead < 0xC2) {
    return 0;
  } else if (lead < 0xE0) {
    length = 2;
  } else if (lead < 0xF0) {
    length = 3;
    if (lead == 0xE0)
      least = 0xA0;
    else if (lead == 0xED)
      most = 0x9F;
  } else if (lead < 0xF5) {
    length = 4;
    if (lead == 0xF0)
      least = 0x90;
    else if (lead == 0xF4)
      most = 0x8F;
  } else {
    return 0;
  }
  if (size < length || text[1] < least || text[1] > most)
    return 0;
  for (size_t i = 2; i < length; i++) {
    if ((text[i] & 0xC0) != 0x80)
      return 0;
  }
  return length;
}

/* Most texts are, and eight bytes are looked at as fast as one. */
static bool is_ascii(const char *text, size_t size) {
  uint64_t any = 0, word;
  for (; size >= sizeof word; text += sizeof word, size -= sizeof word) {
    memcpy(&word, text, sizeof word);
    any |= word;
  }
  for (; size > 0; text++, size--)
    any |= (unsigned char)*text;
  return !(any & UINT64_C(0x8080808080808080));
}

bool rsci_utf8_valid(const char *text, size_t size) {
  return is_ascii(text, size) || rsci_utf8_to_utf16_size(text, size) != RSCI_MALFORMED;
}

size_t rsci_utf8_to_utf16_size(const char *text, size_t size) {
  const unsigned char *bytes = (const unsigned char *)text;
  size_t units = 0;
  size_t at = 0;
  while (at < size) {
    if (size - at >= BLOCK && block_is_ascii(bytes + at)) {
      units += BLOCK;
      at += BLOCK;
      continue;
    }
    size_t length = sequence_size(bytes + at, size - at);
    if (length == 0)
      return RSCI_MALFORMED;
    units += length == 4 ? 2 : 1;
    at += length;
  }
  return units;
}

void rsci_utf8_to_utf16(const char *text, size_t size, WCHAR *out) {
  const unsigned char *bytes = (const unsigned char *)text;
  size_t at = 0;
  while (at < size) {
    if (size - at >= BLOCK && block_is_ascii(bytes + at)) {
      widen(bytes + at, out);
      out += BLOCK;
      at += BLOCK;
      continue;
    }
    uint32_t lead = bytes[at++];
    if (lead < 0x80) {
      *out++ = (WCHAR)lead;
      continue;
    }
    size_t more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t code = lead & (0x3Fu >> more);
    for (; more > 0; more--)
      code = code << 6 | (bytes[at++] & 0x3Fu);
    if (code < 0x10000) {
      *out++ = (WCHAR)code;
    } else {
      code -= 0x10000;
      *out++ = (WCHAR)(0xD800 | code >> 10);
      *out++ = (WCHAR)(0xDC00 | (code & 0x3FF));
    }
  }
}
