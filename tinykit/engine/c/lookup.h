/* Any function of one 8-bit value: a table of its 256 results, made when the code is generated. */
#ifndef TINYKIT_LOOKUP_H
#define TINYKIT_LOOKUP_H

#include <stdint.h>

/* table[x] is the result for the value whose bits, read as unsigned, are x */
static inline void tk_lookup_8(const uint8_t *table, const void *from, void *to, int32_t count)
{
    const uint8_t *in = from;
    uint8_t *out = to;

    for (; count > 0; count--)
        *out++ = table[*in++];
}

/* The functions that need no table: they only limit the value. */
static inline void tk_limit_s8(const int8_t *in, int8_t *out, int32_t count, int32_t low,
                               int32_t high)
{
    for (; count > 0; count--, in++)
        *out++ = (int8_t)(*in < low ? low : *in > high ? high : *in);
}

#endif
