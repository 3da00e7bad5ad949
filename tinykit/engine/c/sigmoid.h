/* logistic and tanh of int16, from one table of the logistic curve. */
#ifndef TINYKIT_SIGMOID_H
#define TINYKIT_SIGMOID_H

#include <stdint.h>

struct tk_sigmoid {
    const uint16_t *table;     /* 256 samples of 65536 / (1 + exp(-i/24)) */
    int32_t multiplier, shift; /* bring an input to 1/(3 * 4096) a step */
};

void tk_logistic_s16(const struct tk_sigmoid *p, const int16_t *in, int16_t *out, int32_t count);
void tk_tanh_s16(const struct tk_sigmoid *p, const int16_t *in, int16_t *out, int32_t count);

#endif
