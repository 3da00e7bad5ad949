/* add, sub and mul with broadcasting. */
#ifndef TINYKIT_ELEMENTWISE_H
#define TINYKIT_ELEMENTWISE_H

#include "broadcast.h"

/* add and sub: each input, less its zero point and shifted left, is brought to a common scale. */
struct tk_add {
    struct tk_broadcast shape;
    int32_t subtract; /* 1: a - b */
    int32_t left_shift;
    int32_t a_offset, a_mantissa, a_shift;
    int32_t b_offset, b_mantissa, b_shift;
    int32_t out_offset, out_mantissa, out_shift;
    int32_t low, high;
};

struct tk_mul {
    struct tk_broadcast shape;
    int32_t a_offset, b_offset, out_offset, mantissa, shift, low, high;
};

/* float32 and int32: what = '+', '-' or '*' */
struct tk_plain {
    struct tk_broadcast shape;
    char what;
    int32_t low, high;
    float low_real, high_real;
};

void tk_add_s8(const struct tk_add *p, const int8_t *a, const int8_t *b, int8_t *out);
void tk_add_s16(const struct tk_add *p, const int16_t *a, const int16_t *b, int16_t *out);
void tk_mul_s8(const struct tk_mul *p, const int8_t *a, const int8_t *b, int8_t *out);
void tk_mul_s16(const struct tk_mul *p, const int16_t *a, const int16_t *b, int16_t *out);
void tk_plain_s32(const struct tk_plain *p, const int32_t *a, const int32_t *b, int32_t *out);
void tk_plain_f32(const struct tk_plain *p, const float *a, const float *b, float *out);

#endif
