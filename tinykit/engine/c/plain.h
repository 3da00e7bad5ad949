/* Cores without DSP instructions: dot products of int8 with what they have, and the way out without
   a long multiplication.

   Armv6-M (Cortex-M0+) adds to any register but multiplies and loads with the lower eight only, and
   sign-extends as it loads only where the address is a sum of two registers. Its dot product is
   written out here; for other cores compilers do well. */
#ifndef TINYKIT_PLAIN_H
#define TINYKIT_PLAIN_H

#include <stdint.h>

#define TK_PLAIN static inline __attribute__((always_inline))

TK_PLAIN void tk_copy_bytes(int8_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = from[i];
        __asm__ volatile("" ::: "memory"); /* a loop, not a call of memcpy */
    }
}

TK_PLAIN void tk_fill_bytes(int8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (int8_t)value;
        __asm__ volatile("" ::: "memory");
    }
}

/* Sums of two filters `w0`, `w1` for two pixels: sums[0], [1] of the one at `x0`, [2], [3] of the one
   at `x1`. All have `length` elements; `step` of them are written out. Both are numbers. */
#if defined(__ARM_ARCH_6M__)

#define TK_TEXT_PLAIN_(x) #x
#define TK_TEXT_PLAIN(x) TK_TEXT_PLAIN_(x)
/* gcc takes the number of lines for the length of the code, and does not see what .rept does */
#define TK_ROOM_PLAIN "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
#define TK_TAP_2                                                                                   \
    "ldrsb %[a], [%[x0], %[i]]\n\tldrsb %[b], [%[w0], %[i]]\n\t"                                   \
    "muls %[b], %[a]\n\tadd %[s0], %[b]\n\t"                                                       \
    "ldrsb %[c], [%[x1], %[i]]\n\tldrsb %[b], [%[w0], %[i]]\n\t"                                   \
    "muls %[b], %[c]\n\tadd %[s2], %[b]\n\t"                                                       \
    "ldrsb %[b], [%[w1], %[i]]\n\t"                                                                \
    "muls %[a], %[b]\n\tadd %[s1], %[a]\n\t"                                                       \
    "muls %[c], %[b]\n\tadd %[s3], %[c]\n\tadds %[i], #1\n\t"
#define TK_TAP_1                                                                                   \
    "ldrsb %[a], [%[x0], %[i]]\n\tldrsb %[b], [%[w0], %[i]]\n\t"                                   \
    "muls %[b], %[a]\n\tadd %[s0], %[b]\n\tldrsb %[b], [%[w1], %[i]]\n\t"                          \
    "muls %[b], %[a]\n\tadd %[s1], %[b]\n\tadds %[i], #1\n\t"
#define TK_TAPS(length, step, tap)                                                                 \
    ".syntax unified\n\t" TK_ROOM_PLAIN                                                            \
    ".rept (" TK_TEXT_PLAIN(length) ") %% (" TK_TEXT_PLAIN(step) ")\n\t" tap ".endr\n\t"           \
    ".if (" TK_TEXT_PLAIN(length) ") / (" TK_TEXT_PLAIN(step) ")\n"                                \
    "1:\n\t"                                                                                       \
    ".rept " TK_TEXT_PLAIN(step) "\n\t" tap ".endr\n\t"                                            \
    "bmi 1b\n\t"                                                                                   \
    ".endif\n\t"

#define tk_two_by_two(sums, x0_, x1_, w0_, w1_, length, step)                                      \
    do {                                                                                           \
        int32_t i_ = -(length), a_, b_, c_, s0_ = 0, s1_ = 0, s2_ = 0, s3_ = 0;                    \
        __asm__ volatile(TK_TAPS(length, step, TK_TAP_2)                                           \
                         : [i] "+l"(i_), [a] "=&l"(a_), [b] "=&l"(b_), [c] "=&l"(c_),              \
                           [s0] "+h"(s0_), [s1] "+h"(s1_), [s2] "+h"(s2_), [s3] "+h"(s3_)          \
                         : [x0] "l"((x0_) + (length)), [x1] "l"((x1_) + (length)),                 \
                           [w0] "l"((w0_) + (length)), [w1] "l"((w1_) + (length))                  \
                         : "cc", "memory");                                                        \
        (sums)[0] = s0_, (sums)[1] = s1_, (sums)[2] = s2_, (sums)[3] = s3_;                        \
    } while (0)

#define tk_one_by_two(sums, x0_, w0_, w1_, length, step)                                           \
    do {                                                                                           \
        int32_t i_ = -(length), a_, b_, s0_ = 0, s1_ = 0;                                          \
        __asm__ volatile(TK_TAPS(length, step, TK_TAP_1)                                           \
                         : [i] "+l"(i_), [a] "=&l"(a_), [b] "=&l"(b_), [s0] "+h"(s0_),             \
                           [s1] "+h"(s1_)                                                          \
                         : [x0] "l"((x0_) + (length)), [w0] "l"((w0_) + (length)),                 \
                           [w1] "l"((w1_) + (length))                                              \
                         : "cc", "memory");                                                        \
        (sums)[0] = s0_, (sums)[1] = s1_;                                                          \
    } while (0)

#else

TK_PLAIN void tk_two_by_two_of(int32_t *sums, const int8_t *x0, const int8_t *x1, const int8_t *w0,
                               const int8_t *w1, int32_t length)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int32_t i = 0; i < length; i++) {
        s0 += x0[i] * w0[i];
        s1 += x0[i] * w1[i];
        s2 += x1[i] * w0[i];
        s3 += x1[i] * w1[i];
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

#define tk_two_by_two(sums, x0, x1, w0, w1, length, step)                                          \
    tk_two_by_two_of(sums, x0, x1, w0, w1, length)

TK_PLAIN void tk_one_by_two_of(int32_t *sums, const int8_t *x, const int8_t *w0, const int8_t *w1,
                               int32_t length)
{
    int32_t s0 = 0, s1 = 0;
    for (int32_t i = 0; i < length; i++) {
        s0 += x[i] * w0[i];
        s1 += x[i] * w1[i];
    }
    sums[0] = s0, sums[1] = s1;
}

#define tk_one_by_two(sums, x, w0, w1, length, step) tk_one_by_two_of(sums, x, w0, w1, length)

#endif

/* floor((a m + k) / 2^(32 + shift)), of 0 <= a < 2^31 - 2^18, 0 <= m < 2^31 and
   k = high 2^32 + low 2^16, 0 <= low < 2^16 + 2^15: four products, and sums, of at most 32 bits */
TK_PLAIN int32_t tk_scale_narrow(uint32_t a, uint32_t m, int32_t high, uint32_t low, int32_t shift)
{
    const uint32_t a_high = a >> 16, a_low = a & 0xFFFF, m_high = m >> 16, m_low = m & 0xFFFF;
    const uint32_t middle = a_low * m_high + (a_low * m_low >> 16) + a_high * m_low + low;

    return ((int32_t)(a_high * m_high) + high + (int32_t)(middle >> 16)) >> shift;
}

#endif
