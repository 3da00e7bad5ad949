/* Activation functions of floats. */
#ifndef TINYKIT_ACTIVATION_H
#define TINYKIT_ACTIVATION_H

#include <stdint.h>

/* relu, relu6 and relu_n1_to_1 differ in their limits */
void tk_limit_f32(const float *in, float *out, int32_t count, float low, float high);
void tk_leaky_relu_f32(const float *in, float *out, int32_t count, float alpha);
void tk_hard_swish_f32(const float *in, float *out, int32_t count);
void tk_logistic_f32(const float *in, float *out, int32_t count);
void tk_tanh_f32(const float *in, float *out, int32_t count);

#endif
