#include "sigmoid.h"

static inline int32_t tk_sigmoid_step(const struct tk_sigmoid *p, int32_t x)
{
    const int32_t half = p->shift > 0 ? 1 << (p->shift - 1) : 0;
    const uint32_t wide = (uint32_t)x * (uint32_t)p->multiplier + (uint32_t)half;
    return (int32_t)wide >> p->shift;
}

/* The curve at `away` >= 0, of which the low `bits` lie between two samples; times 2^bits. */
static inline int32_t tk_sigmoid_curve(const struct tk_sigmoid *p, uint32_t away, int32_t bits)
{
    const int32_t left = p->table[away >> bits], right = p->table[(away >> bits) + 1];
    return (left << bits) + (int32_t)(away & ((1u << bits) - 1)) * (right - left);
}

void tk_logistic_s16(const struct tk_sigmoid *p, const int16_t *in, int16_t *out, int32_t count)
{
    for (; count > 0; count--) {
        const int32_t step = tk_sigmoid_step(p, *in++);
        const uint32_t away = step < 0 ? 0u - (uint32_t)step : (uint32_t)step;
        const int32_t y = away >> 9 >= 255 ? 0x7FFF << 10 : tk_sigmoid_curve(p, away, 9);
        *out++ = (int16_t)((step < 0 ? (1 << 25) - y + (1 << 9) - 1 : y + (1 << 9)) >> 10);
    }
}

void tk_tanh_s16(const struct tk_sigmoid *p, const int16_t *in, int16_t *out, int32_t count)
{
    for (; count > 0; count--) {
        const int32_t step = tk_sigmoid_step(p, *in++);
        const uint32_t away = step < 0 ? 0u - (uint32_t)step : (uint32_t)step;
        const int32_t y = away >> 8 >= 255 ? 0xFFFF << 8 : tk_sigmoid_curve(p, away, 8);
        const int32_t one = 1 << 23;
        *out++ = (int16_t)((step < 0 ? one - y + (1 << 7) - 1 : y - one + (1 << 7)) >> 8);
    }
}
