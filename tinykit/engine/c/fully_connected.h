/* fully_connected. Of the window only batches (rows of inputs) and out_c (filters) are read. */
#ifndef TINYKIT_FULLY_CONNECTED_H
#define TINYKIT_FULLY_CONNECTED_H

#include "conv.h"

void tk_fully_connected_s8(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_fully_connected_s4(const struct tk_conv *p, const int8_t *in, int8_t *out);
void tk_fully_connected_s16(const struct tk_conv *p, const int16_t *in, int16_t *out);
void tk_fully_connected_s16_narrow(const struct tk_conv *p, const int16_t *in, int16_t *out);
void tk_fully_connected_f32(const struct tk_conv *p, const float *in, float *out);

#endif
