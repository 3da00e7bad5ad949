#include "depthwise.h"
#include "accumulator.h"

/* First weight of a pixel's taps; the channel is added by the caller. */
static int32_t tk_depthwise_at(const struct tk_conv *p, const struct tk_taps *t)
{
    return (t->first_row * p->window.filter_w + t->first_col) * p->window.out_c;
}

static int32_t tk_depthwise_sum_s8(const struct tk_conv *p, const struct tk_taps *t,
                                   const int8_t *x0, const int8_t *w0)
{
    const int32_t step = p->window.out_c, row = step * p->window.filter_w;
    int32_t acc = 0;

    for (int32_t i = 0; i < t->rows; i++) {
        const int8_t *x = x0 + i * t->row_step, *w = w0 + i * row;
        for (int32_t j = 0; j < t->cols; j++, x += t->col_step, w += step)
            acc += (*x + p->in_offset) * *w;
    }
    return acc;
}

/* Four channels at a time where each input channel has one output. */
static void tk_depthwise_pixel_s8(const void *params, const struct tk_taps *t, const void *in,
                                  void *out)
{
    const struct tk_conv *p = params;
    const int32_t step = p->window.out_c, row = step * p->window.filter_w, offset = p->in_offset;
    const int8_t *x0 = (const int8_t *)in + t->at;
    const int8_t *w0 = (const int8_t *)p->weights + tk_depthwise_at(p, t);
    int8_t *y = out;
    int32_t channel = 0, part = 0;

    if (p->multiplier == 1) {
        for (; channel + 4 <= step; channel += 4, x0 += 4, w0 += 4) {
            int32_t a0 = tk_bias32(p, channel), a1 = tk_bias32(p, channel + 1);
            int32_t a2 = tk_bias32(p, channel + 2), a3 = tk_bias32(p, channel + 3);
            for (int32_t i = 0; i < t->rows; i++) {
                const int8_t *x = x0 + i * t->row_step, *w = w0 + i * row;
                for (int32_t j = t->cols; j > 0; j--, x += t->col_step, w += step) {
                    a0 += (x[0] + offset) * w[0];
                    a1 += (x[1] + offset) * w[1];
                    a2 += (x[2] + offset) * w[2];
                    a3 += (x[3] + offset) * w[3];
                }
            }
            y[channel] = tk_leave_s8(p, channel, a0);
            y[channel + 1] = tk_leave_s8(p, channel + 1, a1);
            y[channel + 2] = tk_leave_s8(p, channel + 2, a2);
            y[channel + 3] = tk_leave_s8(p, channel + 3, a3);
        }
    }
    for (; channel < step; channel++, w0++) {
        const int32_t acc = tk_bias32(p, channel) + tk_depthwise_sum_s8(p, t, x0, w0);
        y[channel] = tk_leave_s8(p, channel, acc);
        if (++part == p->multiplier) {
            part = 0;
            x0++;
        }
    }
}

void tk_depthwise_s8(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    tk_slide(&p->window, tk_depthwise_pixel_s8, p, in, out, p->window.out_c);
}

static void tk_depthwise_pixel_s4(const void *params, const struct tk_taps *t, const void *in,
                                  void *out)
{
    const struct tk_conv *p = params;
    const int32_t step = p->window.out_c, row = step * p->window.filter_w;
    const int32_t w0 = tk_depthwise_at(p, t);
    int8_t *y = out;

    for (int32_t channel = 0; channel < step; channel++) {
        const int8_t *x0 = (const int8_t *)in + t->at + channel / p->multiplier;
        int32_t acc = tk_bias32(p, channel);
        for (int32_t i = 0; i < t->rows; i++) {
            const int8_t *x = x0 + i * t->row_step;
            int32_t w = w0 + i * row + channel;
            for (int32_t j = 0; j < t->cols; j++, x += t->col_step, w += step)
                acc += (*x + p->in_offset) * tk_int4(p->weights, w);
        }
        y[channel] = tk_leave_s8(p, channel, acc);
    }
}

void tk_depthwise_s4(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    tk_slide(&p->window, tk_depthwise_pixel_s4, p, in, out, p->window.out_c);
}

static void tk_depthwise_pixel_s16(const void *params, const struct tk_taps *t, const void *in,
                                   void *out)
{
    const struct tk_conv *p = params;
    const int32_t step = p->window.out_c, row = step * p->window.filter_w;
    const int8_t *w0 = (const int8_t *)p->weights + tk_depthwise_at(p, t);
    int16_t *y = out;

    for (int32_t channel = 0; channel < step; channel++) {
        const int16_t *x0 = (const int16_t *)in + t->at + channel / p->multiplier;
        int64_t acc = tk_bias64(p, channel);
        for (int32_t i = 0; i < t->rows; i++) {
            const int16_t *x = x0 + i * t->row_step;
            const int8_t *w = w0 + i * row + channel;
            for (int32_t j = 0; j < t->cols; j++, x += t->col_step, w += step)
                acc += *x * *w;
        }
        y[channel] = tk_leave_s16(p, channel, acc);
    }
}

void tk_depthwise_s16(const struct tk_conv *p, const int16_t *in, int16_t *out)
{
    tk_slide(&p->window, tk_depthwise_pixel_s16, p, in, out, 2 * p->window.out_c);
}

static void tk_depthwise_pixel_f32(const void *params, const struct tk_taps *t, const void *in,
                                   void *out)
{
    const struct tk_conv *p = params;
    const int32_t step = p->window.out_c, row = step * p->window.filter_w;
    const float *w0 = (const float *)p->weights + tk_depthwise_at(p, t);
    float *y = out;

    for (int32_t channel = 0; channel < step; channel++) {
        const float *x0 = (const float *)in + t->at + channel / p->multiplier;
        float acc = 0.0f;
        for (int32_t i = 0; i < t->rows; i++) {
            const float *x = x0 + i * t->row_step, *w = w0 + i * row + channel;
            for (int32_t j = 0; j < t->cols; j++, x += t->col_step, w += step)
                acc += *x * *w;
        }
        y[channel] = tk_leave_f32(p, acc + tk_bias_f32(p, channel));
    }
}

void tk_depthwise_f32(const struct tk_conv *p, const float *in, float *out)
{
    tk_slide(&p->window, tk_depthwise_pixel_f32, p, in, out, 4 * p->window.out_c);
}
