#include "elementwise.h"
#include "fixedpoint.h"

static inline int32_t tk_add_one(const struct tk_add *p, int32_t a, int32_t b)
{
    const int32_t x = tk_rounding_shift_right(
        tk_doubling_high_mul(tk_shift_left(a + p->a_offset, p->left_shift), p->a_mantissa),
        -p->a_shift);
    const int32_t y = tk_rounding_shift_right(
        tk_doubling_high_mul(tk_shift_left(b + p->b_offset, p->left_shift), p->b_mantissa),
        -p->b_shift);
    const int32_t sum = p->subtract ? x - y : x + y;

    return tk_clamp(tk_rounding_shift_right(tk_doubling_high_mul(sum, p->out_mantissa),
                                            -p->out_shift) + p->out_offset,
                    p->low, p->high);
}

static void tk_add_row_s8(const void *params, const void *from_a, int32_t a_step,
                          const void *from_b, int32_t b_step, void *to, int32_t count)
{
    const struct tk_add *p = params;
    const int8_t *a = from_a, *b = from_b;
    int8_t *out = to;

    for (; count > 0; count--, a += a_step, b += b_step)
        *out++ = (int8_t)tk_add_one(p, *a, *b);
}

void tk_add_s8(const struct tk_add *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    tk_each_row(&p->shape, tk_add_row_s8, p, a, b, out, 1);
}

static void tk_add_row_s16(const void *params, const void *from_a, int32_t a_step,
                           const void *from_b, int32_t b_step, void *to, int32_t count)
{
    const struct tk_add *p = params;
    const int16_t *a = from_a, *b = from_b;
    int16_t *out = to;

    for (; count > 0; count--, a += a_step, b += b_step)
        *out++ = (int16_t)tk_add_one(p, *a, *b);
}

void tk_add_s16(const struct tk_add *p, const int16_t *a, const int16_t *b, int16_t *out)
{
    tk_each_row(&p->shape, tk_add_row_s16, p, a, b, out, 2);
}

static inline int32_t tk_mul_one(const struct tk_mul *p, int32_t a, int32_t b)
{
    const int32_t product = (a + p->a_offset) * (b + p->b_offset);

    return tk_clamp(tk_scale(product, p->mantissa, p->shift) + p->out_offset, p->low, p->high);
}

static void tk_mul_row_s8(const void *params, const void *from_a, int32_t a_step,
                          const void *from_b, int32_t b_step, void *to, int32_t count)
{
    const struct tk_mul *p = params;
    const int8_t *a = from_a, *b = from_b;
    int8_t *out = to;

    for (; count > 0; count--, a += a_step, b += b_step)
        *out++ = (int8_t)tk_mul_one(p, *a, *b);
}

void tk_mul_s8(const struct tk_mul *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    tk_each_row(&p->shape, tk_mul_row_s8, p, a, b, out, 1);
}

static void tk_mul_row_s16(const void *params, const void *from_a, int32_t a_step,
                           const void *from_b, int32_t b_step, void *to, int32_t count)
{
    const struct tk_mul *p = params;
    const int16_t *a = from_a, *b = from_b;
    int16_t *out = to;

    for (; count > 0; count--, a += a_step, b += b_step)
        *out++ = (int16_t)tk_mul_one(p, *a, *b);
}

void tk_mul_s16(const struct tk_mul *p, const int16_t *a, const int16_t *b, int16_t *out)
{
    tk_each_row(&p->shape, tk_mul_row_s16, p, a, b, out, 2);
}

/* Integers wrap around when they leave 32 bits, as they do in the reference. */
static void tk_plain_row_s32(const void *params, const void *from_a, int32_t a_step,
                             const void *from_b, int32_t b_step, void *to, int32_t count)
{
    const struct tk_plain *p = params;
    const uint32_t *a = from_a, *b = from_b;
    int32_t *out = to;

    for (; count > 0; count--, a += a_step, b += b_step) {
        const uint32_t y = p->what == '+' ? *a + *b : p->what == '-' ? *a - *b : *a * *b;
        *out++ = tk_clamp((int32_t)y, p->low, p->high);
    }
}

void tk_plain_s32(const struct tk_plain *p, const int32_t *a, const int32_t *b, int32_t *out)
{
    tk_each_row(&p->shape, tk_plain_row_s32, p, a, b, out, 4);
}

static void tk_plain_row_f32(const void *params, const void *from_a, int32_t a_step,
                             const void *from_b, int32_t b_step, void *to, int32_t count)
{
    const struct tk_plain *p = params;
    const float *a = from_a, *b = from_b;
    float *out = to;

    for (; count > 0; count--, a += a_step, b += b_step) {
        const float y = p->what == '+' ? *a + *b : p->what == '-' ? *a - *b : *a * *b;
        *out++ = y < p->low_real ? p->low_real : y > p->high_real ? p->high_real : y;
    }
}

void tk_plain_f32(const struct tk_plain *p, const float *a, const float *b, float *out)
{
    tk_each_row(&p->shape, tk_plain_row_f32, p, a, b, out, 4);
}
