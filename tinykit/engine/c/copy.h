/* Moving elements about: every op that only rearranges is some strided copies. */
#ifndef TINYKIT_COPY_H
#define TINYKIT_COPY_H

#include <stdint.h>

/* One axis of a copy, steps in bytes. */
struct tk_axis {
    int32_t size, from_step, to_step;
};

struct tk_copy {
    int32_t from_at, to_at;      /* bytes to the first element */
    int32_t unit;                /* bytes that lie together in both */
    int32_t rank;                /* 1 to 8 */
    const struct tk_axis *axes;  /* outermost first */
};

void tk_copy(const struct tk_copy *p, const void *from, void *to);

/* count times the same element of `unit` (1, 2, 4 or 8) bytes */
void tk_fill(void *to, const void *element, int32_t unit, int32_t count);

#endif
