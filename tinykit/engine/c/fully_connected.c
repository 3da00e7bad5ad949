#include "fully_connected.h"
#include "accumulator.h"
#include "dot.h"

/* What a filter's zero point adds to every output of a row: sum of (x + offset) * (w + f) is
   sum of (x + offset) * w plus f times this sum. */
static int32_t tk_row_sum(const struct tk_conv *p, const int8_t *x)
{
    int32_t sum = 0;

    if (p->filter_offset != 0)
        for (int32_t i = 0; i < p->depth; i++)
            sum += x[i] + p->in_offset;
    return sum * p->filter_offset;
}

void tk_fully_connected_s8(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    const int32_t channels = p->window.out_c, depth = p->depth;

    for (int32_t row = 0; row < p->window.batches; row++, in += depth) {
        const int8_t *w = p->weights;
        const int32_t more = tk_row_sum(p, in);
        int32_t c = 0;
        for (; c + 4 <= channels; c += 4, w += 4 * depth) {
            struct tk_four acc = {tk_bias32(p, c) + more, tk_bias32(p, c + 1) + more,
                                  tk_bias32(p, c + 2) + more, tk_bias32(p, c + 3) + more};
            acc = tk_dot4(acc, in, depth, p->in_offset, w, depth);
            *out++ = tk_leave_s8(p, c, acc.a);
            *out++ = tk_leave_s8(p, c + 1, acc.b);
            *out++ = tk_leave_s8(p, c + 2, acc.c);
            *out++ = tk_leave_s8(p, c + 3, acc.d);
        }
        for (; c < channels; c++, w += depth) {
            int32_t acc = tk_bias32(p, c) + more;
            for (int32_t i = 0; i < depth; i++)
                acc += (in[i] + p->in_offset) * w[i];
            *out++ = tk_leave_s8(p, c, acc);
        }
    }
}

void tk_fully_connected_s4(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    const int32_t depth = p->depth;

    for (int32_t row = 0; row < p->window.batches; row++, in += depth) {
        const int32_t more = tk_row_sum(p, in);
        int32_t w = 0;
        for (int32_t c = 0; c < p->window.out_c; c++) {
            int32_t acc = tk_bias32(p, c) + more;
            for (int32_t i = 0; i < depth; i++, w++)
                acc += (in[i] + p->in_offset) * tk_int4(p->weights, w);
            *out++ = tk_leave_s8(p, c, acc);
        }
    }
}

void tk_fully_connected_s16(const struct tk_conv *p, const int16_t *in, int16_t *out)
{
    const int32_t depth = p->depth;

    for (int32_t row = 0; row < p->window.batches; row++, in += depth) {
        const int8_t *w = p->weights;
        for (int32_t c = 0; c < p->window.out_c; c++, w += depth) {
            int64_t acc = tk_bias64(p, c);
            for (int32_t i = 0; i < depth; i++)
                acc += in[i] * (w[i] + p->filter_offset);
            *out++ = tk_leave_s16(p, c, acc);
        }
    }
}

void tk_fully_connected_s16_narrow(const struct tk_conv *p, const int16_t *in, int16_t *out)
{
    const int32_t depth = p->depth;

    for (int32_t row = 0; row < p->window.batches; row++, in += depth) {
        const int8_t *w = p->weights;
        for (int32_t c = 0; c < p->window.out_c; c++, w += depth) {
            uint32_t acc = (uint32_t)tk_bias32(p, c);
            for (int32_t i = 0; i < depth; i++)
                acc += (uint32_t)(in[i] * (w[i] + p->filter_offset));
            *out++ = tk_leave_s16_narrow(p, c, (int32_t)acc);
        }
    }
}

void tk_fully_connected_f32(const struct tk_conv *p, const float *in, float *out)
{
    const int32_t depth = p->depth;

    for (int32_t row = 0; row < p->window.batches; row++, in += depth) {
        const float *w = p->weights;
        for (int32_t c = 0; c < p->window.out_c; c++, w += depth) {
            float acc = 0.0f;
            for (int32_t i = 0; i < depth; i++)
                acc += in[i] * w[i];
            *out++ = tk_leave_f32(p, acc + tk_bias_f32(p, c));
        }
    }
}
