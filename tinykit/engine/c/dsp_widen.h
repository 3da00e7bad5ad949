/* Stored int8 as halfwords (x + 128) * 2^times, 0 .. 1020 for the two times in use: without a sign,
   so that masks separate them. `times` is a constant expression. */
#ifndef TINYKIT_DSP_WIDEN_H
#define TINYKIT_DSP_WIDEN_H

#include "simd.h"

/* bytes 0 and 2, then 1 and 3 */
TK_INLINE void tk_widen4(const int8_t *from, int16_t *to, int times)
{
    const uint32_t mask = 0x00FF00FFu << times;
    const uint32_t bytes = tk_load32(from) ^ 0x80808080u;
    tk_store32(to, (bytes << times) & mask);
    tk_store32(to + 2, (bytes >> (8 - times)) & mask);
}

TK_INLINE void tk_widen4_in_order(const int8_t *from, int16_t *to, int times)
{
    const uint32_t mask = 0x00FF00FFu << times;
    const uint32_t bytes = tk_load32(from) ^ 0x80808080u;
    const uint32_t even = (bytes << times) & mask, odd = (bytes >> (8 - times)) & mask;
    tk_store32(to, tk_pkhbt(even, odd));
    tk_store32(to + 2, tk_pkhtb(odd, even));
}

TK_INLINE int32_t tk_widen1(int8_t x, int times)
{
    return (x + 128) << times;
}

#endif
