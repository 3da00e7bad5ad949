/* Two arrays against each other, one possibly repeated along some dimensions. */
#ifndef TINYKIT_BROADCAST_H
#define TINYKIT_BROADCAST_H

#include <stdint.h>

/* Four dimensions, the fastest last; a step of 0 repeats an input along its dimension. */
struct tk_broadcast {
    int32_t size[4], a_step[4], b_step[4];
};

/* Computes `count` elements of the last dimension; steps are in elements. */
typedef void (*tk_row)(const void *params, const void *a, int32_t a_step, const void *b,
                       int32_t b_step, void *out, int32_t count);

/* Calls `row` for each row; all three arrays have elements of `width` bytes. */
void tk_each_row(const struct tk_broadcast *s, tk_row row, const void *params, const void *a,
                 const void *b, void *out, int32_t width);

#endif
