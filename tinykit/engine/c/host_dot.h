/* Vectors of 16 bytes for machines that run an operating system: SSE2 and NEON, which every
   64-bit x86 and Arm has, and the compiler's own translation elsewhere. */
#ifndef TINYKIT_HOST_DOT_H
#define TINYKIT_HOST_DOT_H

#include <stdint.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef int16_t tk_v8 __attribute__((vector_size(16)));
typedef int32_t tk_v4 __attribute__((vector_size(16)));

/* eight int16 from any address */
static inline tk_v8 tk_v8_at(const int16_t *from)
{
    tk_v8 made;
    __builtin_memcpy(&made, from, 16);
    return made;
}

static inline tk_v4 tk_v4_at(const int32_t *from)
{
    tk_v4 made;
    __builtin_memcpy(&made, from, 16);
    return made;
}

static inline void tk_v4_to(int32_t *to, tk_v4 from)
{
    __builtin_memcpy(to, &from, 16);
}

/* two neighbours, four times */
static inline tk_v8 tk_pair_at(const int16_t *from)
{
    int32_t both;
    __builtin_memcpy(&both, from, 4);
    return (tk_v8)(tk_v4){both, both, both, both};
}

/* a[0] b[0] + a[1] b[1], a[2] b[2] + a[3] b[3], ... */
static inline tk_v4 tk_pair_dot(tk_v8 a, tk_v8 b)
{
#if defined(__SSE2__)
    return (tk_v4)__builtin_ia32_pmaddwd128(a, b);
#elif defined(__aarch64__)
    const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    return (tk_v4)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
#else
    return (tk_v4){a[0] * b[0] + a[1] * b[1], a[2] * b[2] + a[3] * b[3],
                   a[4] * b[4] + a[5] * b[5], a[6] * b[6] + a[7] * b[7]};
#endif
}

/* One channel's way from an accumulator to a stored value, TFLite's two roundings in one shift: the
   accumulator is multiplied and `half` added, less `below` where it is negative. */
struct tk_host_leave {
    int64_t mantissa, half, below;
    int32_t shift;
};

static inline int8_t tk_host_leave(const struct tk_host_leave *p, int32_t acc, int32_t zero,
                                   int32_t low, int32_t high)
{
    const int64_t wide = acc * p->mantissa + p->half - (acc < 0 ? p->below : 0);
    const int64_t made = (wide >> p->shift) + zero;
    return (int8_t)(made < low ? low : made > high ? high : made);
}

/* `rows` rows of int8 widened into the middle of a larger image that holds `fill` elsewhere */
static inline void tk_host_widen(const int8_t *in, int16_t *to, int32_t rows, int32_t row,
                                 int32_t above, int32_t before, int32_t after, int32_t below,
                                 int16_t fill)
{
    const int32_t whole = before + row + after;

    for (int32_t i = 0; i < above * whole; i++)
        *to++ = fill;
    for (int32_t y = 0; y < rows; y++) {
        for (int32_t i = 0; i < before; i++)
            *to++ = fill;
        for (int32_t i = 0; i < row; i++)
            to[i] = in[i];
        to += row;
        in += row;
        for (int32_t i = 0; i < after; i++)
            *to++ = fill;
    }
    for (int32_t i = 0; i < below * whole; i++)
        *to++ = fill;
}

#endif
