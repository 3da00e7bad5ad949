/* exp and tanh of floats without a C library; errors of some units in the last place.
   Polynomials from Cephes (Moshier), expf.c and tanhf.c. */
#ifndef TINYKIT_FLOAT_MATH_H
#define TINYKIT_FLOAT_MATH_H

#include <stdint.h>

static inline float tk_exp(float x)
{
    union { uint32_t bits; float value; } power;
    if (x != x)
        return x;
    if (x > 88.72283f)
        return __builtin_inff();
    if (x < -87.33654f)
        return 0.0f; /* results below the smallest normal float are flushed */
    /* x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first exact in products with n */
    const float scaled = x * 1.44269504088896341f;
    const int32_t n = (int32_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f);
    const float r = (x - (float)n * 0.693359375f) - (float)n * -2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    /* 2^n in two factors: 2^128 itself is not a float */
    power.bits = (uint32_t)(n / 2 + 127) << 23;
    y *= power.value;
    power.bits = (uint32_t)(n - n / 2 + 127) << 23;
    return y * power.value;
}

static inline float tk_tanh(float x)
{
    const float away = x < 0.0f ? -x : x;
    if (away >= 0.625f) {
        const float y = 1.0f - 2.0f / (tk_exp(2.0f * away) + 1.0f);
        return x < 0.0f ? -y : y;
    }
    const float z = x * x;
    float y = -5.70498872745e-3f;
    y = y * z + 2.06390887954e-2f;
    y = y * z - 5.37397155531e-2f;
    y = y * z + 1.33314422036e-1f;
    y = y * z - 3.33332819422e-1f;
    return y * z * x + x;
}

#endif
