#include "reduce.h"
#include "fixedpoint.h"

typedef void (*tk_reduce_one)(const struct tk_reduce *p, const void *in, int32_t at, void *out,
                              int32_t number);

/* Calls `one` for each output element with the first input element that goes into it. */
static void tk_each_kept(const struct tk_reduce *p, tk_reduce_one one, const void *in, void *out)
{
    int32_t number = 0;

    for (int32_t i = 0; i < p->kept[0]; i++)
        for (int32_t j = 0; j < p->kept[1]; j++)
            for (int32_t k = 0; k < p->kept[2]; k++)
                for (int32_t l = 0; l < p->kept[3]; l++)
                    one(p, in, i * p->kept_step[0] + j * p->kept_step[1] +
                        k * p->kept_step[2] + l * p->kept_step[3], out, number++);
}

/* `each` runs with x pointing to each element that goes into one output. */
#define TK_EACH_GONE(p, type, from, each)                                             \
    for (int32_t i = 0; i < (p)->gone[0]; i++)                                        \
        for (int32_t j = 0; j < (p)->gone[1]; j++)                                    \
            for (int32_t k = 0; k < (p)->gone[2]; k++) {                              \
                const type *x = (from) + i * (p)->gone_step[0] +                      \
                                j * (p)->gone_step[1] + k * (p)->gone_step[2];        \
                for (int32_t l = 0; l < (p)->gone[3]; l++, x += (p)->gone_step[3])    \
                    each;                                                             \
            }

static inline int32_t tk_reduce_scale(const struct tk_reduce *p, int32_t sum)
{
    return tk_scale(sum + p->offset, p->mantissa, p->shift) + p->out_offset;
}

static void tk_sum_one_s8(const struct tk_reduce *p, const void *in, int32_t at, void *out,
                          int32_t number)
{
    int32_t sum = 0;
    TK_EACH_GONE(p, int8_t, (const int8_t *)in + at, sum += *x)
    ((int8_t *)out)[number] = (int8_t)tk_clamp(tk_reduce_scale(p, sum), -128, 127);
}

void tk_sum_s8(const struct tk_reduce *p, const int8_t *in, int8_t *out)
{
    tk_each_kept(p, tk_sum_one_s8, in, out);
}

static void tk_sum_one_s16(const struct tk_reduce *p, const void *in, int32_t at, void *out,
                           int32_t number)
{
    uint32_t sum = 0; /* wraps around when it leaves 32 bits, as the reference does */
    TK_EACH_GONE(p, int16_t, (const int16_t *)in + at, sum += (uint32_t)*x)
    ((int16_t *)out)[number] = (int16_t)tk_clamp(tk_reduce_scale(p, (int32_t)sum), -32768, 32767);
}

void tk_sum_s16(const struct tk_reduce *p, const int16_t *in, int16_t *out)
{
    tk_each_kept(p, tk_sum_one_s16, in, out);
}

static void tk_sum_one_f32(const struct tk_reduce *p, const void *in, int32_t at, void *out,
                           int32_t number)
{
    float sum = 0.0f;
    TK_EACH_GONE(p, float, (const float *)in + at, sum += *x)
    ((float *)out)[number] = sum / p->divisor;
}

void tk_sum_f32(const struct tk_reduce *p, const float *in, float *out)
{
    tk_each_kept(p, tk_sum_one_f32, in, out);
}

static void tk_max_one_s8(const struct tk_reduce *p, const void *in, int32_t at, void *out,
                          int32_t number)
{
    int8_t most = -128;
    TK_EACH_GONE(p, int8_t, (const int8_t *)in + at, most = *x > most ? *x : most)
    ((int8_t *)out)[number] = most;
}

void tk_max_s8(const struct tk_reduce *p, const int8_t *in, int8_t *out)
{
    tk_each_kept(p, tk_max_one_s8, in, out);
}

static void tk_max_one_f32(const struct tk_reduce *p, const void *in, int32_t at, void *out,
                           int32_t number)
{
    float most = ((const float *)in)[at];
    TK_EACH_GONE(p, float, (const float *)in + at, most = *x > most ? *x : most)
    ((float *)out)[number] = most;
}

void tk_max_f32(const struct tk_reduce *p, const float *in, float *out)
{
    tk_each_kept(p, tk_max_one_f32, in, out);
}
