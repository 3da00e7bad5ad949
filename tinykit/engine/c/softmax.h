/* softmax over rows of `depth` elements. */
#ifndef TINYKIT_SOFTMAX_H
#define TINYKIT_SOFTMAX_H

#include <stdint.h>

/* int8: exps[d] is exp of an input d steps below its row's maximum, in Q0.31. From `exps_count`
   on, exponentials are too small to count. */
struct tk_softmax_s8 {
    int32_t rows, depth, exps_count;
    const int32_t *exps;
};

/* int16: tables of 513 samples, exp on [-10, 0] and 1 / (1 + x) on [0, 1], in Q0.15 */
struct tk_softmax_s16 {
    int32_t rows, depth, mantissa, shift;
    const int16_t *exp_table, *reciprocal_table;
};

void tk_softmax_s8(const struct tk_softmax_s8 *p, const int8_t *in, int8_t *out);
void tk_softmax_s8_s16(const struct tk_softmax_s8 *p, const int8_t *in, int16_t *out);
void tk_softmax_s16(const struct tk_softmax_s16 *p, const int16_t *in, int16_t *out);
void tk_softmax_f32(const float *in, float *out, int32_t rows, int32_t depth, float beta);

#endif
