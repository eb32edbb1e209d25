/*
 * Bytes as text, as RFC 4648 has it, with padding.
 *
 * Provides: cli_base64
 * Uses:     nothing
 */
#ifndef CLI_BASE64_H
#define CLI_BASE64_H

#include <stddef.h>

/* To be freed; NULL: not enough memory. */
char *cli_base64(const void *bytes, size_t size);

#endif
