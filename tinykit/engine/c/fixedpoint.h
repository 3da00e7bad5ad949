/* TFLite's fixed-point arithmetic: scale an accumulator by a 31-bit mantissa and a power of two. */
#ifndef TINYKIT_FIXEDPOINT_H
#define TINYKIT_FIXEDPOINT_H

#include <stdint.h>

static inline int32_t tk_clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* x * 2^left, wrapping as the reference does when it leaves 32 bits */
static inline int32_t tk_shift_left(int32_t x, int32_t left)
{
    return (int32_t)((uint32_t)x << left);
}

/* High half of 2ab, rounded half up; INT32_MIN * INT32_MIN, the one overflow, saturates.
   A mantissa is never INT32_MIN, so the kernels do not need the saturation. */
static inline int32_t tk_doubling_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

static inline int32_t tk_saturating_doubling_high_mul(int32_t a, int32_t b)
{
    return a == b && a == INT32_MIN ? INT32_MAX : tk_doubling_high_mul(a, b);
}

/* x / 2^exponent, rounded to nearest, ties away from zero */
static inline int32_t tk_rounding_shift_right(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > threshold);
}

static inline int32_t tk_scale(int32_t x, int32_t mantissa, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return tk_rounding_shift_right(tk_doubling_high_mul(tk_shift_left(x, left), mantissa), right);
}

/* Scaling of 64-bit accumulators (int16 kernels): the mantissa is cut to 15 bits, one rounding. */
static inline int32_t tk_scale64(int64_t x, int32_t mantissa, int32_t shift)
{
    const int32_t reduced = mantissa < 0x7FFF0000 ? (mantissa + (1 << 15)) >> 16 : 0x7FFF;
    const int32_t total = 15 - shift;
    return (int32_t)((x * reduced + ((int64_t)1 << (total - 1))) >> total);
}

#endif
