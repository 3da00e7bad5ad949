/* mean, sum and maximum over some dimensions. */
#ifndef TINYKIT_REDUCE_H
#define TINYKIT_REDUCE_H

#include <stdint.h>

/* Dimensions that stay and dimensions that go, with their steps in elements; unused: size 1. */
struct tk_reduce {
    int32_t kept[4], kept_step[4], gone[4], gone_step[4];
    int32_t offset; /* added to a sum: minus zero point times count */
    int32_t mantissa, shift, out_offset;
    float divisor;
};

void tk_sum_s8(const struct tk_reduce *p, const int8_t *in, int8_t *out);
void tk_sum_s16(const struct tk_reduce *p, const int16_t *in, int16_t *out);
void tk_sum_f32(const struct tk_reduce *p, const float *in, float *out);
void tk_max_s8(const struct tk_reduce *p, const int8_t *in, int8_t *out);
void tk_max_f32(const struct tk_reduce *p, const float *in, float *out);

#endif
