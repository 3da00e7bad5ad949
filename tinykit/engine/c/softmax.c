#include "softmax.h"
#include "fixedpoint.h"
#include "float_math.h"

static int32_t tk_leading_zeros(uint32_t x)
{
    int32_t count = 0;
    for (; count < 32 && !(x >> 31); count++)
        x <<= 1;
    return count;
}

/* x * 2^exponent, saturated */
static int32_t tk_saturating_shift_left(int32_t x, int32_t exponent)
{
    const int32_t most = (int32_t)(((uint32_t)1 << (31 - exponent)) - 1);
    return x > most ? INT32_MAX : x < -most ? INT32_MIN : tk_shift_left(x, exponent);
}

/* 1 / (1 + x) of x in [0, 1), both Q0.31: three steps of Newton's method from 48/17 - 32/17 d */
static int32_t tk_one_over_one_plus(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = 1515870810 + tk_doubling_high_mul(half, -1010580540); /* two integer bits */

    for (int i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - tk_doubling_high_mul(half, y);
        y += tk_saturating_shift_left(tk_doubling_high_mul(y, error), 2);
    }
    return tk_saturating_shift_left(y, 1);
}

/* 1 / sum, a mantissa in Q0.31; the sum is sum / 2^19 and *bits its bits above one */
static int32_t tk_reciprocal(int32_t sum, int32_t *bits)
{
    const int32_t headroom = tk_leading_zeros((uint32_t)sum);
    *bits = 12 - headroom;
    return tk_one_over_one_plus((int32_t)(((uint32_t)sum << headroom) - ((uint32_t)1 << 31)));
}

/* What one row shares: its maximum, 1 / sum, and the shift to `width` bits. */
struct tk_softmax_row {
    int32_t most, inverse, shift;
};

static struct tk_softmax_row tk_softmax_scan(const struct tk_softmax_s8 *p, const int8_t *in,
                                             int32_t width)
{
    struct tk_softmax_row row = {-128, 0, 0};
    int32_t sum = 0, bits;

    for (int32_t i = 0; i < p->depth; i++)
        if (in[i] > row.most)
            row.most = in[i];
    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t below = row.most - in[i];
        if (below < p->exps_count)
            sum += tk_rounding_shift_right(p->exps[below], 12);
    }
    row.inverse = tk_reciprocal(sum, &bits);
    row.shift = bits + 31 - width;
    return row;
}

static inline int32_t tk_softmax_one(const struct tk_softmax_s8 *p,
                                     const struct tk_softmax_row *row, int32_t x)
{
    const int32_t below = row->most - x;
    if (below >= p->exps_count || row->shift > 31)
        return 0;
    return tk_rounding_shift_right(
        tk_saturating_doubling_high_mul(row->inverse, p->exps[below]), row->shift);
}

void tk_softmax_s8(const struct tk_softmax_s8 *p, const int8_t *in, int8_t *out)
{
    for (int32_t r = 0; r < p->rows; r++, in += p->depth) {
        const struct tk_softmax_row row = tk_softmax_scan(p, in, 8);
        for (int32_t i = 0; i < p->depth; i++)
            *out++ = (int8_t)tk_clamp(tk_softmax_one(p, &row, in[i]) - 128, -128, 127);
    }
}

void tk_softmax_s8_s16(const struct tk_softmax_s8 *p, const int8_t *in, int16_t *out)
{
    for (int32_t r = 0; r < p->rows; r++, in += p->depth) {
        const struct tk_softmax_row row = tk_softmax_scan(p, in, 16);
        for (int32_t i = 0; i < p->depth; i++)
            *out++ = (int16_t)tk_clamp(tk_softmax_one(p, &row, in[i]) - 32768, -32768, 32767);
    }
}

/* A 513-sample table at an int16 value: 9 bits choose the sample, 7 the way to the next. */
static inline int32_t tk_interpolate(const int16_t *table, int32_t value)
{
    const int16_t *at = table + 256 + (value >> 7);
    return at[0] + (((at[1] - at[0]) * (value & 0x7F) + 64) >> 7);
}

static inline int32_t tk_exp_s16(const struct tk_softmax_s16 *p, int32_t below)
{
    const int32_t x = tk_scale(below, p->mantissa, p->shift) + 32767;
    return tk_interpolate(p->exp_table, tk_clamp(x, -32768, 32767));
}

void tk_softmax_s16(const struct tk_softmax_s16 *p, const int16_t *in, int16_t *out)
{
    for (int32_t r = 0; r < p->rows; r++, in += p->depth, out += p->depth) {
        int32_t most = -32768, sum = 0;
        for (int32_t i = 0; i < p->depth; i++)
            if (in[i] > most)
                most = in[i];
        for (int32_t i = 0; i < p->depth; i++) {
            out[i] = (int16_t)tk_exp_s16(p, in[i] - most);
            sum += out[i];
        }
        /* the sum as 1 + x with x in [0, 1), recentred on the table */
        const int32_t headroom = tk_leading_zeros((uint32_t)sum), shift = 31 - headroom;
        const int32_t mantissa =
            (int32_t)((((int64_t)sum << (headroom - 1)) + (1 << 13)) >> 14);
        const int32_t inverse = tk_interpolate(
            p->reciprocal_table, tk_clamp(mantissa - (1 << 15) - (1 << 16), -32768, 32767));
        for (int32_t i = 0; i < p->depth; i++)
            out[i] = (int16_t)tk_clamp((out[i] * inverse + (1 << (shift - 1))) >> shift, 0, 32767);
    }
}

void tk_softmax_f32(const float *in, float *out, int32_t rows, int32_t depth, float beta)
{
    for (; rows > 0; rows--, in += depth, out += depth) {
        float most = in[0], sum = 0.0f;
        for (int32_t i = 1; i < depth; i++)
            if (in[i] > most)
                most = in[i];
        for (int32_t i = 0; i < depth; i++) {
            out[i] = tk_exp((in[i] - most) * beta);
            sum += out[i];
        }
        for (int32_t i = 0; i < depth; i++)
            out[i] /= sum;
    }
}
