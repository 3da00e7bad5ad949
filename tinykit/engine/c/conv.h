/* conv_2d (filter OHWI); depthwise_conv_2d (filter HWO) has the same parameters. */
#ifndef TINYKIT_CONV_H
#define TINYKIT_CONV_H

#include <stdint.h>
#include "window.h"

struct tk_conv {
    struct tk_window window;
    int32_t groups, depth;       /* input channels that one filter sees: depth */
    int32_t multiplier;          /* depthwise: outputs for each input channel */
    int32_t in_offset, out_offset, low, high;
    int32_t filter_offset;       /* fully_connected only */
    int32_t per_channel;         /* 1: a mantissa and shift for each channel; 0: one for all */
    float low_real, high_real;   /* the same limits for float32 */
    const void *weights, *bias;  /* bias may be null */
    const int32_t *mantissa;
    const int8_t *shift;
};

/* names: input and accumulator; s4 has int8 inputs with packed int4 weights */
void tk_conv_s8(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_conv_s4(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_conv_s16(const struct tk_conv *p, const int16_t *in, int16_t *out);
void tk_conv_s16_narrow(const struct tk_conv *p, const int16_t *in, int16_t *out);
void tk_conv_f32(const struct tk_conv *p, const float *in, float *out);

#endif
