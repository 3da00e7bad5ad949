/* Between reals and stored integers. */
#ifndef TINYKIT_QUANTIZE_H
#define TINYKIT_QUANTIZE_H

#include <stdint.h>

struct tk_quantize {
    float scale;
    int32_t zero, low, high;
};

void tk_quantize_s8(const struct tk_quantize *p, const float *in, int8_t *out, int32_t count);
void tk_quantize_s16(const struct tk_quantize *p, const float *in, int16_t *out, int32_t count);
void tk_dequantize_s8(const struct tk_quantize *p, const int8_t *in, float *out, int32_t count);
void tk_dequantize_u8(const struct tk_quantize *p, const uint8_t *in, float *out, int32_t count);
void tk_dequantize_s16(const struct tk_quantize *p, const int16_t *in, float *out, int32_t count);

#endif
