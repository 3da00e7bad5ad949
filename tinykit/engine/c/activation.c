#include "activation.h"
#include "float_math.h"

void tk_limit_f32(const float *in, float *out, int32_t count, float low, float high)
{
    for (; count > 0; count--, in++)
        *out++ = *in < low ? low : *in > high ? high : *in;
}

void tk_leaky_relu_f32(const float *in, float *out, int32_t count, float alpha)
{
    for (; count > 0; count--, in++)
        *out++ = *in > 0.0f ? *in : *in * alpha;
}

void tk_hard_swish_f32(const float *in, float *out, int32_t count)
{
    for (; count > 0; count--, in++) {
        const float x = *in, y = x + 3.0f;
        *out++ = x * (y < 0.0f ? 0.0f : y > 6.0f ? 6.0f : y) / 6.0f;
    }
}

/* TFLite's cut-offs: exp(x) itself far below zero, one far above. */
void tk_logistic_f32(const float *in, float *out, int32_t count)
{
    for (; count > 0; count--, in++) {
        const float x = *in;
        *out++ = x > 16.619047164916992f ? 1.0f
                 : x < -9.0f             ? tk_exp(x)
                                         : 1.0f / (1.0f + tk_exp(-x));
    }
}

void tk_tanh_f32(const float *in, float *out, int32_t count)
{
    for (; count > 0; count--)
        *out++ = tk_tanh(*in++);
}
