/* resize_nearest_neighbor and resize_bilinear, from tables of source rows and columns. */
#ifndef TINYKIT_RESIZE_H
#define TINYKIT_RESIZE_H

#include <stdint.h>

struct tk_resize {
    int32_t batches, in_h, in_w, out_h, out_w, channels;
};

/* For each output row or column: the one below, the one above, and the place between them. */
struct tk_between {
    int32_t lower, upper, place; /* place: 1024ths */
};
struct tk_between_f32 {
    int32_t lower, upper;
    float place;
};

void tk_resize_nearest(const struct tk_resize *p, const uint16_t *rows, const uint16_t *columns,
                       int32_t unit, const void *in, void *out);
void tk_resize_bilinear_s8(const struct tk_resize *p, const struct tk_between *rows,
                           const struct tk_between *columns, const int8_t *in, int8_t *out);
void tk_resize_bilinear_f32(const struct tk_resize *p, const struct tk_between_f32 *rows,
                            const struct tk_between_f32 *columns, const float *in, float *out);

#endif
