/* Dot products of one run of inputs with four filters that lie `size` elements apart: each input
   is loaded once for the four. */
#ifndef TINYKIT_DOT_H
#define TINYKIT_DOT_H

#include <stdint.h>

struct tk_four {
    int32_t a, b, c, d;
};

static inline struct tk_four tk_dot4(struct tk_four acc, const int8_t *x, int32_t count,
                                     int32_t offset, const int8_t *w, int32_t size)
{
    for (const int8_t *end = x + count; x < end; x++, w++) {
        const int32_t v = *x + offset;
        acc.a += v * w[0];
        acc.b += v * w[size];
        acc.c += v * w[2 * size];
        acc.d += v * w[3 * size];
    }
    return acc;
}

#endif
