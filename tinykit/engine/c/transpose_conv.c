#include "transpose_conv.h"
#include "accumulator.h"

/* Along one axis: tap `tap` of input `at` lands on the output, so do tap + stride of at - 1, ... */
struct tk_landing {
    int32_t tap, at, count;
};

static struct tk_landing tk_find_landing(int32_t position, int32_t size, int32_t taps,
                                         int32_t stride)
{
    struct tk_landing l;

    l.at = position / stride;
    l.tap = position - l.at * stride;
    if (l.at >= size) {
        l.tap += (l.at - (size - 1)) * stride;
        l.at = size - 1;
    }
    l.count = l.tap < taps ? (taps - 1 - l.tap) / stride + 1 : 0;
    if (l.count > l.at + 1)
        l.count = l.at + 1;
    return l;
}

/* Computes the channels of one output pixel from the inputs that land there. */
typedef void (*tk_gather)(const struct tk_conv *p, const struct tk_landing *y,
                          const struct tk_landing *x, int32_t batch, const void *in, void *out);

static void tk_transpose(const struct tk_conv *p, tk_gather gather, const void *in, void *out,
                         int32_t out_bytes)
{
    const struct tk_window *w = &p->window;
    uint8_t *to = out;

    for (int32_t b = 0; b < w->batches; b++) {
        for (int32_t oy = 0; oy < w->out_h; oy++) {
            const struct tk_landing y =
                tk_find_landing(oy + w->pad_h, w->in_h, w->filter_h, w->stride_h);
            for (int32_t ox = 0; ox < w->out_w; ox++, to += out_bytes) {
                const struct tk_landing x =
                    tk_find_landing(ox + w->pad_w, w->in_w, w->filter_w, w->stride_w);
                gather(p, &y, &x, b, in, to);
            }
        }
    }
}

/* Element of the input, and of a filter, for the i-th landing row and the j-th landing column. */
static int32_t tk_input_at(const struct tk_conv *p, const struct tk_landing *y,
                           const struct tk_landing *x, int32_t batch, int32_t i, int32_t j)
{
    const struct tk_window *w = &p->window;
    return ((batch * w->in_h + y->at - i) * w->in_w + x->at - j) * p->depth;
}

static int32_t tk_filter_at(const struct tk_conv *p, const struct tk_landing *y,
                            const struct tk_landing *x, int32_t channel, int32_t i, int32_t j)
{
    const struct tk_window *w = &p->window;
    const int32_t row = channel * w->filter_h + y->tap + i * w->stride_h;
    return (row * w->filter_w + x->tap + j * w->stride_w) * p->depth;
}

static void tk_gather_s8(const struct tk_conv *p, const struct tk_landing *y,
                         const struct tk_landing *x, int32_t batch, const void *in, void *out)
{
    for (int32_t c = 0; c < p->window.out_c; c++) {
        int32_t acc = tk_bias32(p, c);
        for (int32_t i = 0; i < y->count; i++) {
            for (int32_t j = 0; j < x->count; j++) {
                const int8_t *v = (const int8_t *)in + tk_input_at(p, y, x, batch, i, j);
                const int8_t *w = (const int8_t *)p->weights + tk_filter_at(p, y, x, c, i, j);
                for (int32_t k = 0; k < p->depth; k++)
                    acc += (v[k] + p->in_offset) * w[k];
            }
        }
        ((int8_t *)out)[c] = tk_leave_s8(p, c, acc);
    }
}

void tk_transpose_conv_s8(const struct tk_conv *p, const int8_t *in, int8_t *out)
{
    tk_transpose(p, tk_gather_s8, in, out, p->window.out_c);
}

static void tk_gather_s16(const struct tk_conv *p, const struct tk_landing *y,
                          const struct tk_landing *x, int32_t batch, const void *in, void *out)
{
    for (int32_t c = 0; c < p->window.out_c; c++) {
        int64_t acc = tk_bias64(p, c);
        for (int32_t i = 0; i < y->count; i++) {
            for (int32_t j = 0; j < x->count; j++) {
                const int16_t *v = (const int16_t *)in + tk_input_at(p, y, x, batch, i, j);
                const int8_t *w = (const int8_t *)p->weights + tk_filter_at(p, y, x, c, i, j);
                for (int32_t k = 0; k < p->depth; k++)
                    acc += v[k] * w[k];
            }
        }
        ((int16_t *)out)[c] = tk_leave_s16(p, c, acc);
    }
}

void tk_transpose_conv_s16(const struct tk_conv *p, const int16_t *in, int16_t *out)
{
    tk_transpose(p, tk_gather_s16, in, out, 2 * p->window.out_c);
}

static void tk_gather_f32(const struct tk_conv *p, const struct tk_landing *y,
                          const struct tk_landing *x, int32_t batch, const void *in, void *out)
{
    for (int32_t c = 0; c < p->window.out_c; c++) {
        float acc = 0.0f;
        for (int32_t i = 0; i < y->count; i++) {
            for (int32_t j = 0; j < x->count; j++) {
                const float *v = (const float *)in + tk_input_at(p, y, x, batch, i, j);
                const float *w = (const float *)p->weights + tk_filter_at(p, y, x, c, i, j);
                for (int32_t k = 0; k < p->depth; k++)
                    acc += v[k] * w[k];
            }
        }
        ((float *)out)[c] = tk_leave_f32(p, acc + tk_bias_f32(p, c));
    }
}

void tk_transpose_conv_f32(const struct tk_conv *p, const float *in, float *out)
{
    tk_transpose(p, tk_gather_f32, in, out, 4 * p->window.out_c);
}
