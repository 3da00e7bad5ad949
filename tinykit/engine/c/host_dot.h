/* Vectors for machines that run an operating system: AVX2 where the machine has it, SSE2 and
   NEON, which every 64-bit x86 and Arm has, and the compiler's own translation elsewhere. */
#ifndef TINYKIT_HOST_DOT_H
#define TINYKIT_HOST_DOT_H

#include <stdint.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

/* functions that use vectors; TK_AVX2 is defined where the machine has it */
#if defined(TK_AVX2)
#define TK_WIDE __attribute__((target("avx2")))
#else
#define TK_WIDE
#endif
#define TK_HOST static inline TK_WIDE __attribute__((always_inline))

typedef int16_t tk_v8 __attribute__((vector_size(16)));
typedef int32_t tk_v4 __attribute__((vector_size(16)));

TK_HOST tk_v4 tk_v4_at(const int32_t *from)
{
    tk_v4 made;
    __builtin_memcpy(&made, from, 16);
    return made;
}

TK_HOST int32_t tk_pair(const int16_t *from)
{
    int32_t both;
    __builtin_memcpy(&both, from, 4);
    return both;
}

/* Sums of eight channels; pairs of weights of the eight lie together. tk_sum8_add adds the products
   of two neighbouring inputs. */
#if defined(TK_AVX2)

typedef int32_t tk_sum8 __attribute__((vector_size(32)));
typedef int16_t tk_pairs __attribute__((vector_size(32)));

TK_HOST tk_sum8 tk_sum8_at(const int32_t *from)
{
    tk_sum8 made;
    __builtin_memcpy(&made, from, 32);
    return made;
}

TK_HOST tk_sum8 tk_sum8_add(tk_sum8 sum, const int16_t *x, const int16_t *w)
{
    const int32_t b = tk_pair(x);
    tk_pairs weights;
    __builtin_memcpy(&weights, w, 32);
    return sum + (tk_sum8)__builtin_ia32_pmaddwd256((tk_pairs)(tk_sum8){b, b, b, b, b, b, b, b},
                                                    weights);
}

TK_HOST void tk_sum8_to(int32_t *to, tk_sum8 from)
{
    __builtin_memcpy(to, &from, 32);
}

#else

typedef struct {
    tk_v4 low, high;
} tk_sum8;

TK_HOST tk_sum8 tk_sum8_at(const int32_t *from)
{
    const tk_sum8 made = {tk_v4_at(from), tk_v4_at(from + 4)};
    return made;
}

/* a[0] b[0] + a[1] b[1], a[2] b[2] + a[3] b[3], ... */
TK_HOST tk_v4 tk_pair_dot(tk_v8 a, tk_v8 b)
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

TK_HOST tk_sum8 tk_sum8_add(tk_sum8 sum, const int16_t *x, const int16_t *w)
{
    const int32_t b = tk_pair(x);
    const tk_v8 both = (tk_v8)(tk_v4){b, b, b, b};
    tk_v8 low, high;
    __builtin_memcpy(&low, w, 16);
    __builtin_memcpy(&high, w + 8, 16);
    sum.low += tk_pair_dot(both, low);
    sum.high += tk_pair_dot(both, high);
    return sum;
}

TK_HOST void tk_sum8_to(int32_t *to, tk_sum8 from)
{
    __builtin_memcpy(to, &from, 32);
}

#endif

/* The way out, TFLite's two roundings in one floor of a double, which is exact (host_weights.py says
   why). 256 makes what is truncated positive. */
TK_HOST int8_t tk_host_leave(int32_t acc, double factor, double half, double below, double low,
                             double high)
{
    double y = acc * factor + (acc < 0 ? half - below : half);
    y = y < low ? low : y;
    y = y > high ? high : y;
    return (int8_t)((int32_t)(y + 256.0) - 256);
}

/* `rows` rows of int8 widened into the middle of a larger image that holds `fill` elsewhere */
TK_HOST void tk_host_widen(const int8_t *in, int16_t *to, int32_t rows, int32_t row,
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
