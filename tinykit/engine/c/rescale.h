/* From one scale and integer type to another: quantize, and relu and leaky_relu of int16. */
#ifndef TINYKIT_RESCALE_H
#define TINYKIT_RESCALE_H

#include <stdint.h>

struct tk_rescale {
    int32_t in_offset, out_offset, low, high;
    int32_t mantissa, shift;             /* of values from the zero point up */
    int32_t below_mantissa, below_shift; /* of those below it */
};

void tk_rescale_s8_s16(const struct tk_rescale *p, const int8_t *in, int16_t *out, int32_t count);
void tk_rescale_s8_s32(const struct tk_rescale *p, const int8_t *in, int32_t *out, int32_t count);
void tk_rescale_s16_s8(const struct tk_rescale *p, const int16_t *in, int8_t *out, int32_t count);
void tk_rescale_s16_s16(const struct tk_rescale *p, const int16_t *in, int16_t *out, int32_t count);
void tk_rescale_s16_s32(const struct tk_rescale *p, const int16_t *in, int32_t *out, int32_t count);
void tk_rescale_s32_s8(const struct tk_rescale *p, const int32_t *in, int8_t *out, int32_t count);
void tk_rescale_s32_s16(const struct tk_rescale *p, const int32_t *in, int16_t *out, int32_t count);

#endif
