/* average_pool_2d and max_pool_2d. */
#ifndef TINYKIT_POOL_H
#define TINYKIT_POOL_H

#include <stdint.h>
#include "window.h"

struct tk_pool {
    struct tk_window window;
    int32_t low, high;
    float low_real, high_real; /* the same for float32 */
};

void tk_max_pool_s8(const struct tk_pool *p, const int8_t *in, int8_t *out);
void tk_max_pool_s16(const struct tk_pool *p, const int16_t *in, int16_t *out);
void tk_max_pool_f32(const struct tk_pool *p, const float *in, float *out);
void tk_average_pool_s8(const struct tk_pool *p, const int8_t *in, int8_t *out);
void tk_average_pool_s16(const struct tk_pool *p, const int16_t *in, int16_t *out);
void tk_average_pool_f32(const struct tk_pool *p, const float *in, float *out);

#endif
