/* Sliding windows over NHWC images: which taps of the filter lie inside the image. */
#ifndef TINYKIT_WINDOW_H
#define TINYKIT_WINDOW_H

#include <stdint.h>

struct tk_window {
    int32_t batches, in_h, in_w, in_c, out_h, out_w, out_c;
    int32_t filter_h, filter_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
};

/* The taps that one output pixel sees: rows x cols of them, from (first_row, first_col) on. */
struct tk_taps {
    int32_t first_row, first_col, rows, cols;
    int32_t at;       /* element of the image under the first of them, channel 0 */
    int32_t row_step; /* elements from one row of taps to the next */
    int32_t col_step;
};

/* Computes the channels of one output pixel. */
typedef void (*tk_pixel)(const void *params, const struct tk_taps *taps, const void *in, void *out);

/* Calls `pixel` for each output pixel in order; out_bytes is the size of one. */
void tk_slide(const struct tk_window *w, tk_pixel pixel, const void *params, const void *in,
              void *out, int32_t out_bytes);

#endif
