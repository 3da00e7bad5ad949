/* Sums over an image that arrives a few rows at a time, and the mean in the end. */
#ifndef TINYKIT_PARTIAL_H
#define TINYKIT_PARTIAL_H

#include <stdint.h>

/* out[c] = before[c] + the sum of channel c over all pixels; before may be null */
void tk_pixel_sum_s8(const int8_t *in, int32_t pixels, int32_t channels, const int32_t *before,
                     int32_t *out);
/* the mean of `count` pixels to nearest, ties away from zero, as an average pool rounds it */
void tk_pixel_mean_s8(const int32_t *sums, int32_t channels, int32_t count, int32_t low,
                      int32_t high, int8_t *out);
/* the same scaled by mantissa and shift, as a mean rounds it; offset: zero point times count */
void tk_pixel_scale_s8(const int32_t *sums, int32_t channels, int32_t offset, int32_t mantissa,
                       int32_t shift, int32_t out_offset, int8_t *out);

#endif
