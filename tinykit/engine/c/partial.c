#include "partial.h"
#include "fixedpoint.h"

void tk_pixel_sum_s8(const int8_t *in, int32_t pixels, int32_t channels, const int32_t *before,
                     int32_t *out)
{
    for (int32_t c = 0; c < channels; c++) {
        const int8_t *x = in + c;
        int32_t sum = before ? before[c] : 0;
        int32_t left = pixels;

        for (; left >= 4; left -= 4) {
            sum += x[0];
            sum += x[channels];
            sum += x[2 * channels];
            sum += x[3 * channels];
            x += 4 * channels;
        }
        for (; left > 0; left--, x += channels)
            sum += *x;
        out[c] = sum;
    }
}

void tk_pixel_mean_s8(const int32_t *sums, int32_t channels, int32_t count, int32_t low,
                      int32_t high, int8_t *out)
{
    for (int32_t c = 0; c < channels; c++) {
        const int32_t half = sums[c] > 0 ? count / 2 : -(count / 2);

        out[c] = (int8_t)tk_clamp((sums[c] + half) / count, low, high);
    }
}

void tk_pixel_scale_s8(const int32_t *sums, int32_t channels, int32_t offset, int32_t mantissa,
                       int32_t shift, int32_t out_offset, int8_t *out)
{
    for (int32_t c = 0; c < channels; c++)
        out[c] = (int8_t)tk_clamp(tk_scale(sums[c] - offset, mantissa, shift) + out_offset,
                                  -128, 127);
}
