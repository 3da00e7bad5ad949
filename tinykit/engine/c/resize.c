#include "resize.h"

void tk_resize_nearest(const struct tk_resize *p, const uint16_t *rows, const uint16_t *columns,
                       int32_t unit, const void *in, void *out)
{
    const int32_t pixel = p->channels * unit;
    const uint8_t *image = in;
    uint8_t *to = out;

    for (int32_t b = 0; b < p->batches; b++, image += p->in_h * p->in_w * pixel) {
        for (int32_t y = 0; y < p->out_h; y++) {
            const uint8_t *row = image + rows[y] * p->in_w * pixel;
            for (int32_t x = 0; x < p->out_w; x++, to += pixel)
                __builtin_memcpy(to, row + columns[x] * pixel, (uint32_t)pixel);
        }
    }
}

void tk_resize_bilinear_s8(const struct tk_resize *p, const struct tk_between *rows,
                           const struct tk_between *columns, const int8_t *in, int8_t *out)
{
    const int32_t channels = p->channels, line = p->in_w * channels;

    for (int32_t b = 0; b < p->batches; b++, in += p->in_h * line) {
        for (int32_t y = 0; y < p->out_h; y++) {
            const int8_t *top = in + rows[y].lower * line, *bottom = in + rows[y].upper * line;
            const int32_t v = rows[y].place;
            for (int32_t x = 0; x < p->out_w; x++) {
                const int32_t left = columns[x].lower * channels;
                const int32_t right = columns[x].upper * channels, h = columns[x].place;
                for (int32_t c = 0; c < channels; c++) {
                    const int32_t sum = top[left + c] * (1024 - v) * (1024 - h) +
                                        bottom[left + c] * v * (1024 - h) +
                                        top[right + c] * (1024 - v) * h +
                                        bottom[right + c] * v * h;
                    *out++ = (int8_t)((sum > 0 ? sum + (1 << 19) : sum - (1 << 19)) / (1 << 20));
                }
            }
        }
    }
}

void tk_resize_bilinear_f32(const struct tk_resize *p, const struct tk_between_f32 *rows,
                            const struct tk_between_f32 *columns, const float *in, float *out)
{
    const int32_t channels = p->channels, line = p->in_w * channels;

    for (int32_t b = 0; b < p->batches; b++, in += p->in_h * line) {
        for (int32_t y = 0; y < p->out_h; y++) {
            const float *top = in + rows[y].lower * line, *bottom = in + rows[y].upper * line;
            const float v = rows[y].place;
            for (int32_t x = 0; x < p->out_w; x++) {
                const int32_t left = columns[x].lower * channels;
                const int32_t right = columns[x].upper * channels;
                const float h = columns[x].place;
                for (int32_t c = 0; c < channels; c++)
                    *out++ = top[left + c] * (1 - v) * (1 - h) + bottom[left + c] * v * (1 - h) +
                             top[right + c] * (1 - v) * h + bottom[right + c] * v * h;
            }
        }
    }
}
