#include "text.h"

void *memcpy(void *to, const void *from, size_t length)
{
    void *end = to;
    asm volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(length) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    void *end = to;
    asm volatile("rep stosb" : "+D"(end), "+c"(length) : "a"(byte) : "memory");
    return to;
}

size_t strlen(const char *text)
{
    const char *end = text;
    while (*end)
        end++;
    return end - text;
}

const char *after(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return NULL;
    return text;
}

bool same(const char *one, const char *other)
{
    const char *rest = after(one, other);
    return rest && !*rest;
}

bool contains(const char *text, const char *part)
{
    for (; *text; text++)
        if (after(text, part))
            return true;
    return false;
}

unsigned number_or(const char *text, unsigned usual)
{
    if (*text < '0' || *text > '9')
        return usual;
    unsigned number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (*text - '0');
    return number;
}

static const char *digits(char *end, unsigned number, unsigned base, int least)
{
    *--end = '\0';
    for (; number || least > 0; number /= base, least--)
        *--end = "0123456789abcdef"[number % base];
    return end;
}

size_t format_list(char *to, size_t room, const char *how, va_list values)
{
    size_t length = 0;
    for (; *how; how++) {
        char scratch[16] = {*how};
        const char *piece = scratch, *rest;
        if ((rest = after(how, "%s")))
            piece = va_arg(values, const char *);
        else if ((rest = after(how, "%u")))
            piece = digits(scratch + sizeof(scratch), va_arg(values, unsigned), 10, 1);
        else if ((rest = after(how, "%02x")))
            piece = digits(scratch + sizeof(scratch), va_arg(values, unsigned), 16, 2);
        if (rest)
            how = rest - 1;
        for (; *piece && length + 1 < room; piece++)
            to[length++] = *piece;
    }
    to[length] = '\0';
    return length;
}

size_t format(char *to, size_t room, const char *how, ...)
{
    va_list values;
    va_start(values, how);
    size_t length = format_list(to, room, how, values);
    va_end(values);
    return length;
}

/* Marsaglia's xorshift, seeded by the processor's time counter. */
uint64_t chance(void)
{
    static uint64_t state;
    if (!state)
        state = __builtin_ia32_rdtsc() | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}
