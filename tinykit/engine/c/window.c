#include "window.h"

/* First tap inside an axis of `size`, when tap 0 is at `start`; count of those inside. */
static void tk_clip_taps(int32_t start, int32_t size, int32_t taps, int32_t dilation,
                         int32_t *first, int32_t *count)
{
    int32_t before = 0, last = taps;

    if (dilation == 1) {
        if (start < 0)
            before = -start;
        if (size - start < taps)
            last = size - start;
    } else {
        if (start < 0)
            before = (dilation - 1 - start) / dilation;
        if (start + (taps - 1) * dilation >= size)
            last = (size - start + dilation - 1) / dilation;
    }
    *first = before;
    *count = last > before ? last - before : 0;
}

void tk_slide(const struct tk_window *w, tk_pixel pixel, const void *params, const void *in,
              void *out, int32_t out_bytes)
{
    struct tk_taps taps;
    uint8_t *to = out;

    taps.row_step = w->dilation_h * w->in_w * w->in_c;
    taps.col_step = w->dilation_w * w->in_c;
    for (int32_t b = 0; b < w->batches; b++) {
        int32_t y = -w->pad_h;
        for (int32_t oy = 0; oy < w->out_h; oy++, y += w->stride_h) {
            int32_t x = -w->pad_w;
            tk_clip_taps(y, w->in_h, w->filter_h, w->dilation_h, &taps.first_row, &taps.rows);
            for (int32_t ox = 0; ox < w->out_w; ox++, x += w->stride_w, to += out_bytes) {
                tk_clip_taps(x, w->in_w, w->filter_w, w->dilation_w, &taps.first_col, &taps.cols);
                taps.at = ((b * w->in_h + y + taps.first_row * w->dilation_h) * w->in_w + x +
                           taps.first_col * w->dilation_w) * w->in_c;
                pixel(params, &taps, in, to);
            }
        }
    }
}
