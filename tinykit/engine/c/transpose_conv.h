/* transpose_conv (filter OHWI), output by output: which taps of which inputs land here? */
#ifndef TINYKIT_TRANSPOSE_CONV_H
#define TINYKIT_TRANSPOSE_CONV_H

#include "conv.h"

void tk_transpose_conv_s8(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_transpose_conv_s16(const struct tk_conv *p, const int16_t *in, int16_t *out);
void tk_transpose_conv_f32(const struct tk_conv *p, const float *in, float *out);

#endif
