/* From an accumulator to a stored output: scale, zero point, limits. */
#ifndef TINYKIT_ACCUMULATOR_H
#define TINYKIT_ACCUMULATOR_H

#include "conv.h"
#include "fixedpoint.h"

static inline int8_t tk_leave_s8(const struct tk_conv *p, int32_t channel, int32_t acc)
{
    const int32_t k = channel * p->per_channel;
    const int32_t y = tk_scale(acc, p->mantissa[k], p->shift[k]) + p->out_offset;
    return (int8_t)tk_clamp(y, p->low, p->high);
}

static inline int16_t tk_leave_s16(const struct tk_conv *p, int32_t channel, int64_t acc)
{
    const int32_t k = channel * p->per_channel;
    return (int16_t)tk_clamp(tk_scale64(acc, p->mantissa[k], p->shift[k]), p->low, p->high);
}

static inline int16_t tk_leave_s16_narrow(const struct tk_conv *p, int32_t channel, int32_t acc)
{
    const int32_t k = channel * p->per_channel;
    return (int16_t)tk_clamp(tk_scale(acc, p->mantissa[k], p->shift[k]), p->low, p->high);
}

static inline float tk_leave_f32(const struct tk_conv *p, float acc)
{
    return acc < p->low_real ? p->low_real : acc > p->high_real ? p->high_real : acc;
}

static inline int32_t tk_bias32(const struct tk_conv *p, int32_t channel)
{
    return p->bias ? ((const int32_t *)p->bias)[channel] : 0;
}

static inline int64_t tk_bias64(const struct tk_conv *p, int32_t channel)
{
    return p->bias ? ((const int64_t *)p->bias)[channel] : 0;
}

static inline float tk_bias_f32(const struct tk_conv *p, int32_t channel)
{
    return p->bias ? ((const float *)p->bias)[channel] : 0.0f;
}

/* Value `i` of packed int4 values, the first of each two in the low half. */
static inline int32_t tk_int4(const uint8_t *packed, int32_t i)
{
    const int32_t both = packed[i >> 1];
    return (((i & 1 ? both >> 4 : both) & 15) ^ 8) - 8;
}

#endif
