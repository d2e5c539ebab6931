#include "common/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tr_status tr_size_product(const char *what, size_t *product, size_t n,
                          const size_t *factors)
{
    size_t value = 1;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(value, factors[i], &value))
            return tr_fail(TR_ERR_MEMORY, "%s is too large to be counted in %zu bits",
                           what, 8 * sizeof value);
    *product = value;
    return TR_OK;
}

void *tr_calloc(const char *what, size_t count, size_t size)
{
    size_t bytes = 0;
    if (tr_size_product(what, &bytes, 2, (size_t[]){count, size}) != TR_OK ||
        bytes > SIZE_MAX - 64) {
        return NULL;
    }
    bytes = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes ? bytes : 64);
    if (!memory) {
        (void)tr_fail(TR_ERR_MEMORY, "not enough memory for %s (%zu bytes)", what, bytes);
        return NULL;
    }
    memset(memory, 0, bytes ? bytes : 64);
    return memory;
}

char *tr_strdup(const char *text) { return text ? tr_format_string("%s", text) : NULL; }

char *tr_format_string(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return NULL;
    char *text = malloc((size_t)length + 1);
    if (!text) {
        (void)tr_fail(TR_ERR_MEMORY, "not enough memory for a string of %d bytes",
                      length);
        return NULL;
    }
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
