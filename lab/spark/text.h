/* Bytes, strings and numbers: what a C library would have. */

#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The compiler calls these by itself, too. */
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
size_t strlen(const char *text);

bool same(const char *one, const char *other);

/* Return what follows `prefix` in `text`; NULL: it does not begin with it. */
const char *after(const char *text, const char *prefix);

bool contains(const char *text, const char *part);

/* Return the number that the text begins with; `usual`: it begins with no digit. */
unsigned number_or(const char *text, unsigned usual);

/* Like snprintf, for %s, %u and %02x. What does not fit is left out. Returns the length. */
size_t format(char *to, size_t room, const char *how, ...) __attribute__((format(printf, 3, 4)));
size_t format_list(char *to, size_t room, const char *how, va_list values);

/* A random number; not for secrets. */
uint64_t chance(void);
