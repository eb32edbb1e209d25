/*
 * Text: strict conversion between the UTF-16 of the interfaces and the UTF-8 of everything else.
 *
 * Provides: rsci_utf16_length, rsci_utf16_to_utf8_size, rsci_utf16_to_utf8, rsci_utf8_valid,
 *           rsci_utf8_to_utf16_size, rsci_utf8_to_utf16
 * Uses:     nothing
 * Threads:  any; pure functions
 *
 * Strict means: no lone surrogates, no overlong forms, nothing above U+10FFFF, no encoded surrogates.
 */
#ifndef RSCI_TEXT_H
#define RSCI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Wpframework.h>

/* What the sizing functions answer for text that is not well formed. */
#define RSCI_MALFORMED SIZE_MAX

/* Code units before the terminating NUL. */
size_t rsci_utf16_length(PCWSTR text);

/* Bytes that `units` code units take in UTF-8 (no terminator), or RSCI_MALFORMED. */
size_t rsci_utf16_to_utf8_size(PCWSTR text, size_t units);

/* Writes the UTF-8 of well-formed `text`; `out` has room for what rsci_utf16_to_utf8_size said. No terminator is
 * written. */
void rsci_utf16_to_utf8(PCWSTR text, size_t units, char *out);

/* Whether `size` bytes are well-formed UTF-8. A NUL byte is well formed. */
bool rsci_utf8_valid(const char *text, size_t size);

/* Code units that `size` bytes of UTF-8 take in UTF-16 (no terminator), or RSCI_MALFORMED. */
size_t rsci_utf8_to_utf16_size(const char *text, size_t size);

/* Writes the UTF-16 of well-formed `text`; `out` has room for what rsci_utf8_to_utf16_size said. No terminator is
 * written. */
void rsci_utf8_to_utf16(const char *text, size_t size, WCHAR *out);

#endif
