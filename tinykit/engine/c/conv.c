#include "conv.h"
#include "accumulator.h"
#include "dot.h"
#include "runs.h"

/* Four filters at a time. */
static void tk_conv_pixel_s8(const void *params, const struct tk_taps *taps, const void *in,
                             void *out)
{
    const struct tk_conv *p = params;
    const struct tk_runs r = tk_find_runs(p, taps);
    const int32_t share = p->window.out_c / p->groups, offset = p->in_offset, size = r.filter_size;
    const int8_t *x0 = (const int8_t *)in + taps->at;
    const int8_t *filter = (const int8_t *)p->weights + r.filter_at;
    int8_t *y = out;
    int32_t channel = 0;

    for (int32_t g = 0; g < p->groups; g++, x0 += p->depth) {
        int32_t left = share;
        for (; left >= 4; left -= 4, channel += 4, filter += 4 * size) {
            struct tk_four acc = {tk_bias32(p, channel), tk_bias32(p, channel + 1),
                                  tk_bias32(p, channel + 2), tk_bias32(p, channel + 3)};
            for (int32_t i = 0; i < r.rows; i++) {
                for (int32_t j = 0; j < r.runs; j++) {
                    acc = tk_dot4(acc, x0 + i * r.row_step + j * r.run_step, r.length, offset,
                                  filter + i * r.filter_row + j * r.filter_run, size);
                }
            }
            y[channel] = tk_leave_s8(p, channel, acc.a);
            y[channel + 1] = tk_leave_s8(p, channel + 1, acc.b);
            y[channel + 2] = tk_leave_s8(p, channel + 2, acc.c);
            y[channel + 3] = tk_leave_s8(p, channel + 3, acc.d);
        }
        for (; left > 0; left--, channel++, filter += size) {
            int32_t acc = tk_bias32(p, channel);
            for (int32_t i = 0; i < r.rows; i++) {
                for (int32_t j = 0; j < r.runs; j++) {
                    const int8_t *x = x0 + i * r.row_step + j * r.run_step;
                    const int8_t *w = filter + i * r.filter_row + j * r.filter_run;
                    for (int32_t k = 0; k < r.length; k++)
                        acc += (x[k] + offset) * w[k];
                }
            }
            y[channel] = tk_leave_s8(p, channel, acc);
        }
    }
}

void tk_conv_s8(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    tk_slide(&p->window, tk_conv_pixel_s8, p, in, out, p->window.out_c);
}

static void tk_conv_pixel_s4(const void *params, const struct tk_taps *taps, const void *in,
                             void *out)
{
    const struct tk_conv *p = params;
    const struct tk_runs r = tk_find_runs(p, taps);
    const int32_t share = p->window.out_c / p->groups, offset = p->in_offset;
    int8_t *y = out;

    for (int32_t channel = 0; channel < p->window.out_c; channel++) {
        const int8_t *x0 = (const int8_t *)in + taps->at + channel / share * p->depth;
        const int32_t filter = channel * r.filter_size + r.filter_at;
        int32_t acc = tk_bias32(p, channel);
        for (int32_t i = 0; i < r.rows; i++) {
            for (int32_t j = 0; j < r.runs; j++) {
                const int8_t *x = x0 + i * r.row_step + j * r.run_step;
                const int32_t w = filter + i * r.filter_row + j * r.filter_run;
                for (int32_t k = 0; k < r.length; k++)
                    acc += (x[k] + offset) * tk_int4(p->weights, w + k);
            }
        }
        y[channel] = tk_leave_s8(p, channel, acc);
    }
}

void tk_conv_s4(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    tk_slide(&p->window, tk_conv_pixel_s4, p, in, out, p->window.out_c);
}

static void tk_conv_pixel_s16(const void *params, const struct tk_taps *taps, const void *in,
                              void *out)
{
    const struct tk_conv *p = params;
    const struct tk_runs r = tk_find_runs(p, taps);
    const int32_t share = p->window.out_c / p->groups;
    int16_t *y = out;

    for (int32_t channel = 0; channel < p->window.out_c; channel++) {
        const int16_t *x0 = (const int16_t *)in + taps->at + channel / share * p->depth;
        const int8_t *filter = (const int8_t *)p->weights + channel * r.filter_size + r.filter_at;
        int64_t acc = tk_bias64(p, channel);
        for (int32_t i = 0; i < r.rows; i++) {
            for (int32_t j = 0; j < r.runs; j++) {
                const int16_t *x = x0 + i * r.row_step + j * r.run_step;
                const int8_t *w = filter + i * r.filter_row + j * r.filter_run;
                for (int32_t k = 0; k < r.length; k++)
                    acc += x[k] * w[k];
            }
        }
        y[channel] = tk_leave_s16(p, channel, acc);
    }
}

void tk_conv_s16(const struct tk_conv *p, const int16_t *in, int16_t *out)
{
    tk_slide(&p->window, tk_conv_pixel_s16, p, in, out, 2 * p->window.out_c);
}

/* With a 32-bit bias the reference accumulates in 32 bits, wrapping. */
static void tk_conv_pixel_s16_narrow(const void *params, const struct tk_taps *taps,
                                     const void *in, void *out)
{
    const struct tk_conv *p = params;
    const struct tk_runs r = tk_find_runs(p, taps);
    const int32_t share = p->window.out_c / p->groups;
    int16_t *y = out;

    for (int32_t channel = 0; channel < p->window.out_c; channel++) {
        const int16_t *x0 = (const int16_t *)in + taps->at + channel / share * p->depth;
        const int8_t *filter = (const int8_t *)p->weights + channel * r.filter_size + r.filter_at;
        uint32_t acc = (uint32_t)tk_bias32(p, channel);
        for (int32_t i = 0; i < r.rows; i++) {
            for (int32_t j = 0; j < r.runs; j++) {
                const int16_t *x = x0 + i * r.row_step + j * r.run_step;
                const int8_t *w = filter + i * r.filter_row + j * r.filter_run;
                for (int32_t k = 0; k < r.length; k++)
                    acc += (uint32_t)(x[k] * w[k]);
            }
        }
        y[channel] = tk_leave_s16_narrow(p, channel, (int32_t)acc);
    }
}

void tk_conv_s16_narrow(const struct tk_conv *p, const int16_t *in, int16_t *out)
{
    tk_slide(&p->window, tk_conv_pixel_s16_narrow, p, in, out, 2 * p->window.out_c);
}

static void tk_conv_pixel_f32(const void *params, const struct tk_taps *taps, const void *in,
                              void *out)
{
    const struct tk_conv *p = params;
    const struct tk_runs r = tk_find_runs(p, taps);
    const int32_t share = p->window.out_c / p->groups;
    float *y = out;

    for (int32_t channel = 0; channel < p->window.out_c; channel++) {
        const float *x0 = (const float *)in + taps->at + channel / share * p->depth;
        const float *filter = (const float *)p->weights + channel * r.filter_size + r.filter_at;
        float acc = 0.0f;
        for (int32_t i = 0; i < r.rows; i++) {
            for (int32_t j = 0; j < r.runs; j++) {
                const float *x = x0 + i * r.row_step + j * r.run_step;
                const float *w = filter + i * r.filter_row + j * r.filter_run;
                for (int32_t k = 0; k < r.length; k++)
                    acc += x[k] * w[k];
            }
        }
        y[channel] = tk_leave_f32(p, acc + tk_bias_f32(p, channel));
    }
}

void tk_conv_f32(const struct tk_conv *p, const float *in, float *out)
{
    tk_slide(&p->window, tk_conv_pixel_f32, p, in, out, 4 * p->window.out_c);
}
