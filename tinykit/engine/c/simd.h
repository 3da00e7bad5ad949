/* The DSP instructions of Cortex-M4, M7, M33 and M55 (two 16-bit or four 8-bit values in a word),
   one function an instruction. Without them functions of the same meaning stand in, so that the
   code runs, bit for bit, on any machine.

   Packed words are uint32_t: "low" and "high" are their 16-bit halves, "byte 0" the least byte.
   Accumulators are int32_t and wrap. Little-endian machines only, as all Cortex-M are in practice. */
#ifndef TINYKIT_SIMD_H
#define TINYKIT_SIMD_H

#include <stdint.h>

#define TK_INLINE static inline __attribute__((always_inline))

/* -- memory: any alignment. LDR and STR take it on these cores; no pair of accesses is merged into
   one that does not. */

TK_INLINE uint32_t tk_load32(const void *at)
{
    uint32_t word;
    __builtin_memcpy(&word, at, 4);
    return word;
}

TK_INLINE uint32_t tk_load16(const void *at)
{
    uint16_t half;
    __builtin_memcpy(&half, at, 2);
    return half;
}

TK_INLINE void tk_store32(void *at, uint32_t word)
{
    __builtin_memcpy(at, &word, 4);
}

TK_INLINE void tk_store16(void *at, uint32_t half)
{
    const uint16_t kept = (uint16_t)half;
    __builtin_memcpy(at, &kept, 2);
}

/* No access to memory moves across this. gcc takes loads together ahead of the arithmetic, which is
   right until there are more loaded words than registers. */
TK_INLINE void tk_in_order(void)
{
    __asm__ volatile("" ::: "memory");
}

/* TK_KEEP: the pointer is advanced as it stands; clang would rather compute many from one. TK_ORDER:
   no access to memory crosses this, and the sums are complete here, so that a load takes the place
   of the one before and not a further register. */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define TK_KEEP(pointer) __asm__ volatile("" : "+r"(pointer))
/* Two words from base + offset bytes (0, 4 ... 1020, a number), which must be at a multiple of 4. One
   instruction, and a cycle less than two loads apart. */
#define TK_LOAD64(low, high, base, offset)                                                         \
    __asm__ volatile("ldrd %0, %1, [%2, %3]" : "=r"(low), "=r"(high) : "r"(base), "n"(offset))
#define TK_ORDER1(a) __asm__ volatile("" : "+r"(a) : : "memory")
#define TK_ORDER2(a, b) __asm__ volatile("" : "+r"(a), "+r"(b) : : "memory")
#else
#define TK_KEEP(pointer) ((void)(pointer))
#define TK_LOAD64(low, high, base, offset)                                                         \
    ((void)((low) = tk_load32((const char *)(base) + (offset)),                                    \
            (high) = tk_load32((const char *)(base) + (offset) + 4)))
#define TK_ORDER1(a) ((void)(a))
#define TK_ORDER2(a, b) ((void)(a), (void)(b))
#endif

/* -- halves as integers (the compiler knows them; no instruction of their own) */

TK_INLINE int32_t tk_low(uint32_t x)
{
    return (int16_t)(x & 0xFFFF);
}

TK_INLINE int32_t tk_high(uint32_t x)
{
    return (int16_t)(x >> 16);
}

TK_INLINE uint32_t tk_pack16(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFF) | ((uint32_t)high << 16);
}

TK_INLINE int32_t tk_add32(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

TK_INLINE int32_t tk_sub32(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a - (uint32_t)b);
}

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#define TK_ONE(name, text, type)                                                                   \
    TK_INLINE type name(uint32_t a)                                                                \
    {                                                                                              \
        type r;                                                                                    \
        __asm__(text : "=r"(r) : "r"(a));                                                          \
        return r;                                                                                  \
    }
#define TK_TWO(name, text, type)                                                                   \
    TK_INLINE type name(uint32_t a, uint32_t b)                                                    \
    {                                                                                              \
        type r;                                                                                    \
        __asm__(text : "=r"(r) : "r"(a), "r"(b));                                                  \
        return r;                                                                                  \
    }
#define TK_MAC(name, text)                                                                         \
    TK_INLINE int32_t name(uint32_t a, uint32_t b, int32_t sum)                                    \
    {                                                                                              \
        int32_t r;                                                                                 \
        __asm__(text : "=r"(r) : "r"(a), "r"(b), "r"(sum));                                        \
        return r;                                                                                  \
    }

TK_MAC(tk_smlad, "smlad %0, %1, %2, %3")
TK_MAC(tk_smladx, "smladx %0, %1, %2, %3")
TK_MAC(tk_smlabb, "smlabb %0, %1, %2, %3")
TK_MAC(tk_smlabt, "smlabt %0, %1, %2, %3")
TK_MAC(tk_smlatb, "smlatb %0, %1, %2, %3")
TK_MAC(tk_smlatt, "smlatt %0, %1, %2, %3")
TK_TWO(tk_smuad, "smuad %0, %1, %2", int32_t)
TK_TWO(tk_smulbb, "smulbb %0, %1, %2", int32_t)
TK_TWO(tk_smulbt, "smulbt %0, %1, %2", int32_t)
TK_TWO(tk_smultt, "smultt %0, %1, %2", int32_t)
TK_ONE(tk_sxtb16, "sxtb16 %0, %1", uint32_t)
TK_ONE(tk_sxtb16_ror8, "sxtb16 %0, %1, ror #8", uint32_t)
TK_TWO(tk_sxtab16, "sxtab16 %0, %1, %2", uint32_t)
TK_TWO(tk_sxtab16_ror8, "sxtab16 %0, %1, %2, ror #8", uint32_t)
TK_TWO(tk_sadd16, "sadd16 %0, %1, %2", uint32_t)
TK_TWO(tk_ssub16, "ssub16 %0, %1, %2", uint32_t)
TK_TWO(tk_pkhbt, "pkhbt %0, %1, %2, lsl #16", uint32_t)
TK_TWO(tk_pkhtb, "pkhtb %0, %1, %2, asr #16", uint32_t)

TK_INLINE int32_t tk_smmulr(int32_t a, int32_t b)
{
    int32_t r;
    __asm__("smmulr %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

TK_INLINE int32_t tk_smmlar(int32_t a, int32_t b, int32_t c)
{
    int32_t r;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

TK_INLINE int32_t tk_smmla(int32_t a, int32_t b, int32_t c)
{
    int32_t r;
    __asm__("smmla %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

/* byte by byte, as signed numbers: the larger, the smaller */
TK_INLINE uint32_t tk_max8x4(uint32_t a, uint32_t b)
{
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

TK_INLINE uint32_t tk_min8x4(uint32_t a, uint32_t b)
{
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

#undef TK_ONE
#undef TK_TWO
#undef TK_MAC

#else

TK_INLINE int32_t tk_mac16(int32_t a, int32_t b, int32_t sum)
{
    return (int32_t)((uint32_t)(a * b) + (uint32_t)sum);
}

/* sum + low(a) * low(b) + high(a) * high(b) */
TK_INLINE int32_t tk_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    return tk_mac16(tk_high(a), tk_high(b), tk_mac16(tk_low(a), tk_low(b), sum));
}

/* sum + low(a) * high(b) + high(a) * low(b) */
TK_INLINE int32_t tk_smladx(uint32_t a, uint32_t b, int32_t sum)
{
    return tk_mac16(tk_high(a), tk_low(b), tk_mac16(tk_low(a), tk_high(b), sum));
}

/* sum + one half of a * one half of b: b(ottom) is the low one, t(op) the high one */
TK_INLINE int32_t tk_smlabb(uint32_t a, uint32_t b, int32_t sum)
{
    return tk_mac16(tk_low(a), tk_low(b), sum);
}

TK_INLINE int32_t tk_smlabt(uint32_t a, uint32_t b, int32_t sum)
{
    return tk_mac16(tk_low(a), tk_high(b), sum);
}

TK_INLINE int32_t tk_smlatb(uint32_t a, uint32_t b, int32_t sum)
{
    return tk_mac16(tk_high(a), tk_low(b), sum);
}

TK_INLINE int32_t tk_smlatt(uint32_t a, uint32_t b, int32_t sum)
{
    return tk_mac16(tk_high(a), tk_high(b), sum);
}

TK_INLINE int32_t tk_smuad(uint32_t a, uint32_t b)
{
    return tk_smlad(a, b, 0);
}

TK_INLINE int32_t tk_smulbb(uint32_t a, uint32_t b)
{
    return tk_low(a) * tk_low(b);
}

TK_INLINE int32_t tk_smulbt(uint32_t a, uint32_t b)
{
    return tk_low(a) * tk_high(b);
}

TK_INLINE int32_t tk_smultt(uint32_t a, uint32_t b)
{
    return tk_high(a) * tk_high(b);
}

/* bytes 0 and 2 of x, sign-extended to halves */
TK_INLINE uint32_t tk_sxtb16(uint32_t x)
{
    return tk_pack16((int8_t)(x & 0xFF), (int8_t)((x >> 16) & 0xFF));
}

/* bytes 1 and 3 of x, sign-extended to halves */
TK_INLINE uint32_t tk_sxtb16_ror8(uint32_t x)
{
    return tk_sxtb16(x >> 8);
}

/* half by half, wrapping */
TK_INLINE uint32_t tk_sadd16(uint32_t a, uint32_t b)
{
    return tk_pack16(tk_low(a) + tk_low(b), tk_high(a) + tk_high(b));
}

TK_INLINE uint32_t tk_ssub16(uint32_t a, uint32_t b)
{
    return tk_pack16(tk_low(a) - tk_low(b), tk_high(a) - tk_high(b));
}

/* the halves of a + bytes 0 and 2 (1 and 3) of b */
TK_INLINE uint32_t tk_sxtab16(uint32_t a, uint32_t b)
{
    return tk_sadd16(a, tk_sxtb16(b));
}

TK_INLINE uint32_t tk_sxtab16_ror8(uint32_t a, uint32_t b)
{
    return tk_sadd16(a, tk_sxtb16_ror8(b));
}

/* low half of a, low half of b above it */
TK_INLINE uint32_t tk_pkhbt(uint32_t a, uint32_t b)
{
    return (a & 0xFFFF) | (b << 16);
}

/* high half of a, high half of b below it */
TK_INLINE uint32_t tk_pkhtb(uint32_t a, uint32_t b)
{
    return (a & 0xFFFF0000u) | (b >> 16);
}

/* byte by byte, as signed numbers: the larger, the smaller */
TK_INLINE uint32_t tk_max8x4(uint32_t a, uint32_t b)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i += 8) {
        const uint32_t x = (a >> i) & 0xFF, y = (b >> i) & 0xFF;
        r |= ((int8_t)x > (int8_t)y ? x : y) << i;
    }
    return r;
}

TK_INLINE uint32_t tk_min8x4(uint32_t a, uint32_t b)
{
    return ~tk_max8x4(~a, ~b);
}

/* high word of a * b, rounded half up */
TK_INLINE int32_t tk_smmulr(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + 0x80000000LL) >> 32);
}

/* c + high word of a * b, rounded half up; without r: rounded down */
TK_INLINE int32_t tk_smmlar(int32_t a, int32_t b, int32_t c)
{
    return tk_add32(tk_smmulr(a, b), c);
}

TK_INLINE int32_t tk_smmla(int32_t a, int32_t b, int32_t c)
{
    return tk_add32((int32_t)(((int64_t)a * b) >> 32), c);
}

#endif

/* x >> shift, limited to int8; shift is a constant expression, 0..31. One instruction: the shift is
   part of SSAT. */
TK_INLINE int32_t tk_ssat8_asr(int32_t x, int shift)
{
#if defined(__ARM_FEATURE_SAT) && defined(__OPTIMIZE__)
    int32_t r;
    if (shift == 0)
        __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(x) : "cc");
    else
        __asm__("ssat %0, #8, %1, asr %2" : "=r"(r) : "r"(x), "i"(shift == 0 ? 1 : shift) : "cc");
    return r;
#else
    const int32_t y = x >> shift;
    return y < -128 ? -128 : y > 127 ? 127 : y;
#endif
}

#endif
