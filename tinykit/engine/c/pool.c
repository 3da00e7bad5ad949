#include "pool.h"

/* The functions of one element type. Taps outside the image count neither in the maximum nor in
   the mean; TOTAL sums one channel's taps, MEAN divides the total by their number. */
#define TK_POOL(SUFFIX, TYPE, TOTAL, LOW, HIGH, MEAN)                                             \
    static void tk_max_pixel_##SUFFIX(const void *params, const struct tk_taps *t, const void *in, \
                                      void *out)                                                   \
    {                                                                                              \
        const struct tk_pool *p = params;                                                          \
        const TYPE *x0 = (const TYPE *)in + t->at;                                                 \
        TYPE *y = out;                                                                             \
        for (int32_t c = 0; c < p->window.out_c; c++) {                                            \
            TYPE best = x0[c];                                                                     \
            for (int32_t i = 0; i < t->rows; i++) {                                                \
                const TYPE *x = x0 + i * t->row_step + c;                                          \
                for (int32_t j = 0; j < t->cols; j++, x += t->col_step)                            \
                    best = *x > best ? *x : best;                                                  \
            }                                                                                      \
            y[c] = (TYPE)(best < p->LOW ? p->LOW : best > p->HIGH ? p->HIGH : best);               \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void tk_max_pool_##SUFFIX(const struct tk_pool *p, const TYPE *in, TYPE *out)                  \
    {                                                                                              \
        tk_slide(&p->window, tk_max_pixel_##SUFFIX, p, in, out,                                    \
                 p->window.out_c * (int32_t)sizeof(TYPE));                                         \
    }                                                                                              \
                                                                                                   \
    static void tk_average_pixel_##SUFFIX(const void *params, const struct tk_taps *t,             \
                                          const void *in, void *out)                               \
    {                                                                                              \
        const struct tk_pool *p = params;                                                          \
        const TYPE *x0 = (const TYPE *)in + t->at;                                                 \
        const int32_t count = t->rows * t->cols;                                                   \
        TYPE *y = out;                                                                             \
        for (int32_t c = 0; c < p->window.out_c; c++) {                                            \
            TOTAL total = 0;                                                                       \
            for (int32_t i = 0; i < t->rows; i++) {                                                \
                const TYPE *x = x0 + i * t->row_step + c;                                          \
                for (int32_t j = 0; j < t->cols; j++, x += t->col_step)                            \
                    total += *x;                                                                   \
            }                                                                                      \
            total = MEAN(total, count);                                                            \
            y[c] = (TYPE)(total < p->LOW ? p->LOW : total > p->HIGH ? p->HIGH : total);            \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void tk_average_pool_##SUFFIX(const struct tk_pool *p, const TYPE *in, TYPE *out)              \
    {                                                                                              \
        tk_slide(&p->window, tk_average_pixel_##SUFFIX, p, in, out,                                \
                 p->window.out_c * (int32_t)sizeof(TYPE));                                         \
    }

/* to nearest, ties away from zero */
static int32_t tk_mean(int32_t total, int32_t count)
{
    return (total > 0 ? total + count / 2 : total - count / 2) / count;
}

static float tk_mean_f32(float total, int32_t count)
{
    return total / (float)count;
}

TK_POOL(s8, int8_t, int32_t, low, high, tk_mean)
TK_POOL(s16, int16_t, int32_t, low, high, tk_mean)
TK_POOL(f32, float, float, low_real, high_real, tk_mean_f32)
