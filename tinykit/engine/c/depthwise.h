/* depthwise_conv_2d; its parameters are conv_2d's. */
#ifndef TINYKIT_DEPTHWISE_H
#define TINYKIT_DEPTHWISE_H

#include "conv.h"

void tk_depthwise_s8(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_depthwise_s4(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_depthwise_s16(const struct tk_conv *p, const int16_t *in, int16_t *out);
void tk_depthwise_f32(const struct tk_conv *p, const float *in, float *out);

#endif
