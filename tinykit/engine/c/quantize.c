#include "quantize.h"
#include "fixedpoint.h"

/* Nearest integer, ties away from zero; far values saturate, a NaN becomes 0. */
static inline int32_t tk_round(float x)
{
    const float limit = 1073741824.0f;
    if (x >= limit)
        return 1 << 30;
    if (x <= -limit)
        return -(1 << 30);
    if (x != x)
        return 0;
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

static inline int32_t tk_quantize_one(const struct tk_quantize *p, float x)
{
    return tk_clamp(tk_round(x / p->scale) + p->zero, p->low, p->high);
}

void tk_quantize_s8(const struct tk_quantize *p, const float *in, int8_t *out, int32_t count)
{
    for (; count > 0; count--)
        *out++ = (int8_t)tk_quantize_one(p, *in++);
}

void tk_quantize_s16(const struct tk_quantize *p, const float *in, int16_t *out, int32_t count)
{
    for (; count > 0; count--)
        *out++ = (int16_t)tk_quantize_one(p, *in++);
}

void tk_dequantize_s8(const struct tk_quantize *p, const int8_t *in, float *out, int32_t count)
{
    for (; count > 0; count--)
        *out++ = p->scale * (float)(*in++ - p->zero);
}

void tk_dequantize_u8(const struct tk_quantize *p, const uint8_t *in, float *out, int32_t count)
{
    for (; count > 0; count--)
        *out++ = p->scale * (float)(*in++ - p->zero);
}

void tk_dequantize_s16(const struct tk_quantize *p, const int16_t *in, float *out, int32_t count)
{
    for (; count > 0; count--)
        *out++ = p->scale * (float)(*in++ - p->zero);
}
