/* Helium, the vectors of Cortex-M55 and M85: eight registers of 16 bytes. One function an
   instruction, but for the dot products, which want every register in its place. Without Helium
   functions of the same meaning stand in, so that the code runs, bit for bit, on any machine.

   Weights of dot products are stored as they are read: for each vector of 16 inputs those of four
   output channels, 64 bytes. */
#ifndef TINYKIT_MVE_H
#define TINYKIT_MVE_H

#include <stdint.h>

#define TK_VECTOR static inline __attribute__((always_inline))

typedef int8_t tk_q8 __attribute__((vector_size(16)));
typedef int16_t tk_q16 __attribute__((vector_size(16)));
typedef int32_t tk_q32 __attribute__((vector_size(16)));

#if defined(__ARM_FEATURE_MVE) && __ARM_FEATURE_MVE

#define TK_TEXT_(x) #x
#define TK_TEXT(x) TK_TEXT_(x)

/* -- dot products */

/* One vector of inputs of two pixels (q0, q1) or one with four filters. VMLADAVA adds to registers
   of even number only. */
#define TK_FOUR_2(op)                                                                              \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r0, q0, q2\n\t" op " r8, q1, q2\n\t"                       \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r2, q0, q2\n\t" op " r10, q1, q2\n\t"                      \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r4, q0, q2\n\t" op " r12, q1, q2\n\t"                      \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r6, q0, q2\n\t" op " lr, q1, q2\n\t"
#define TK_FOUR_1(op)                                                                              \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r0, q0, q2\n\t"                                            \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r2, q0, q2\n\t"                                            \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r4, q0, q2\n\t"                                            \
    "vldrb.u8 q2, [%[w]], #16\n\t" op " r6, q0, q2\n\t"
#define TK_NEXT_2 "vldrb.u8 q0, [%[x0]], #16\n\tvldrb.u8 q1, [%[x1]], #16\n\t"
#define TK_NEXT_1 "vldrb.u8 q0, [%[x0]], #16\n\t"
#define TK_FEW_2 "vctp.8 %[n]\n\tvpstt\n\tvldrbt.u8 q0, [%[x0]]\n\tvldrbt.u8 q1, [%[x1]]\n\t"
#define TK_FEW_1 "vctp.8 %[n]\n\tvpst\n\tvldrbt.u8 q0, [%[x0]]\n\t"
#define TK_BACK_2(left)                                                                            \
    "vldrb.u8 q0, [%[x0], #(" TK_TEXT(left) ")-16]\n\t"                                            \
    "vldrb.u8 q1, [%[x1], #(" TK_TEXT(left) ")-16]\n\t"
#define TK_BACK_1(left) "vldrb.u8 q0, [%[x0], #(" TK_TEXT(left) ")-16]\n\t"

/* gcc takes the number of lines for the length of the code, and does not see what .rept does */
#define TK_ROOM_16 "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
#define TK_ROOM TK_ROOM_16 TK_ROOM_16 TK_ROOM_16 TK_ROOM_16

/* `full` vectors, of which `rounds` times four in a loop, and `left` inputs more */
#define TK_DOT(pixels, rounds, full, left)                                                         \
    TK_ROOM                                                                                        \
    ".if " TK_TEXT(full) "\n\t"                                                                    \
    TK_NEXT_##pixels TK_FOUR_##pixels("vmladav.s8")                                                \
    ".else\n\t"                                                                                    \
    TK_FEW_##pixels TK_FOUR_##pixels("vmladav.s8")                                                 \
    ".endif\n\t"                                                                                   \
    ".if " TK_TEXT(rounds) "\n\t"                                                                  \
    "movw %[n], #" TK_TEXT(rounds) "\n"                                                            \
    "1:\n\t"                                                                                       \
    ".rept 4\n\t"                                                                                  \
    TK_NEXT_##pixels TK_FOUR_##pixels("vmladava.s8")                                               \
    ".endr\n\t"                                                                                    \
    "subs %[n], %[n], #1\n\t"                                                                      \
    "bne 1b\n\t"                                                                                   \
    ".endif\n\t"                                                                                   \
    ".if (" TK_TEXT(full) ") > 1\n\t"                                                              \
    ".rept (" TK_TEXT(full) ") - 1 - 4 * (" TK_TEXT(rounds) ")\n\t"                                \
    TK_NEXT_##pixels TK_FOUR_##pixels("vmladava.s8")                                               \
    ".endr\n\t"                                                                                    \
    ".endif\n\t"                                                                                   \
    ".if (" TK_TEXT(full) ") && (" TK_TEXT(left) ")\n\t"                                           \
    TK_BACK_##pixels(left) TK_FOUR_##pixels("vmladava.s8")                                         \
    ".endif\n\t"

/* Sums of four channels for the pixel at `x`, and for the one at `y`. Where `full` vectors leave
   inputs over, the last vector starts before them, and the weights for what it repeats are zero.
   All but the pointers are numbers. */
#define tk_mve_dot(a, x, w_, rounds, full, left)                                                      \
    do {                                                                                           \
        const int8_t *x0_ = (x), *w0_ = (w_);                                                      \
        int32_t n_ = (left);                                                                       \
        register tk_q32 a_ __asm__("q0");                                                          \
        __asm__ volatile(TK_DOT(1, rounds, full, left)                                             \
                         "vmov q0[2], q0[0], r0, r4\n\tvmov q0[3], q0[1], r2, r6"                  \
                         : [x0] "+r"(x0_), [w] "+r"(w0_), [n] "+r"(n_), "=w"(a_)                   \
                         :                                                                         \
                         : "r0", "r2", "r4", "r6", "q2", "cc", "memory");                          \
        (a) = a_;                                                                                  \
    } while (0)

#define tk_mve_dots(a, b, x, y, w_, rounds, full, left)                                          \
    do {                                                                                           \
        const int8_t *x0_ = (x), *x1_ = (y), *w0_ = (w_);                                          \
        int32_t n_ = (left);                                                                       \
        register tk_q32 a_ __asm__("q0");                                                          \
        register tk_q32 b_ __asm__("q1");                                                          \
        __asm__ volatile(TK_DOT(2, rounds, full, left)                                             \
                         "vmov q0[2], q0[0], r0, r4\n\tvmov q0[3], q0[1], r2, r6\n\t"              \
                         "vmov q1[2], q1[0], r8, r12\n\tvmov q1[3], q1[1], r10, lr"                \
                         : [x0] "+r"(x0_), [x1] "+r"(x1_), [w] "+r"(w0_), [n] "+r"(n_),            \
                           "=w"(a_), "=w"(b_)                                                      \
                         :                                                                         \
                         : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "q2", "cc", "memory"); \
        (a) = a_;                                                                                  \
        (b) = b_;                                                                                  \
    } while (0)

/* Dot products of the 16 bytes at s, s + step, s + 2 step and s + 3 step with w0; and of the 16
   after each with w1, and so on. `step` is a number. */
#define TK_AT(n, more, step) "[%[s], #(" #n ")*(" TK_TEXT(step) ")+" #more "]"
#define TK_ALONG(op, k, more, step)                                                                \
    "vldrb.u8 %q[a], " TK_AT(0, more, step) "\n\t" op " r0, %q[a], %q[w" #k "]\n\t"                 \
    "vldrb.u8 %q[a], " TK_AT(1, more, step) "\n\t" op " r2, %q[a], %q[w" #k "]\n\t"                 \
    "vldrb.u8 %q[a], " TK_AT(2, more, step) "\n\t" op " r4, %q[a], %q[w" #k "]\n\t"                 \
    "vldrb.u8 %q[a], " TK_AT(3, more, step) "\n\t" op " r6, %q[a], %q[w" #k "]\n\t"
#define TK_ALONG_1(step) TK_ALONG("vmladav.s8", 0, 0, step)
#define TK_ALONG_2(step) TK_ALONG_1(step) TK_ALONG("vmladava.s8", 1, 16, step)
#define TK_ALONG_3(step) TK_ALONG_2(step) TK_ALONG("vmladava.s8", 2, 32, step)
#define TK_ALONG_4(step) TK_ALONG_3(step) TK_ALONG("vmladava.s8", 3, 48, step)
#define TK_STRIP(a, from, step, count, ...)                                                        \
    __asm__ volatile(TK_ALONG_##count(step)                                                        \
                     "vmov %q[a][2], %q[a][0], r0, r4\n\tvmov %q[a][3], %q[a][1], r2, r6"          \
                     : [a] "=&w"(a) : [s] "r"(from), __VA_ARGS__                                   \
                     : "r0", "r2", "r4", "r6", "memory")
#define tk_strip_1(a, s, step, w) TK_STRIP(a, s, step, 1, [w0] "w"((w)[0]))
#define tk_strip_2(a, s, step, w) TK_STRIP(a, s, step, 2, [w0] "w"((w)[0]), [w1] "w"((w)[1]))
#define tk_strip_3(a, s, step, w)                                                                  \
    TK_STRIP(a, s, step, 3, [w0] "w"((w)[0]), [w1] "w"((w)[1]), [w2] "w"((w)[2]))
#define tk_strip_4(a, s, step, w)                                                                  \
    TK_STRIP(a, s, step, 4, [w0] "w"((w)[0]), [w1] "w"((w)[1]), [w2] "w"((w)[2]), [w3] "w"((w)[3]))

/* -- memory. Loads that widen and stores that narrow take a low register as address. */

TK_VECTOR tk_q32 tk_load_q32(const int32_t *from)
{
    tk_q32 r;
    __asm__("vldrw.32 %q0, [%1]" : "=w"(r) : "r"(from), "m"(*(const int32_t(*)[4])from));
    return r;
}

/* four bytes, each a lane of 32 bits */
TK_VECTOR tk_q32 tk_load_4(const int8_t *from)
{
    tk_q32 r;
    __asm__ volatile("vldrb.s32 %q0, [%1]" : "=w"(r) : "l"(from) : "memory");
    return r;
}

TK_VECTOR tk_q32 tk_load_some(const int8_t *from, int32_t count)
{
    tk_q32 r;
    __asm__ volatile("vctp.32 %2\n\tvpst\n\tvldrbt.s32 %q0, [%1]"
                     : "=w"(r) : "l"(from), "r"(count) : "memory");
    return r;
}

/* the low bytes of four lanes */
TK_VECTOR void tk_store_4(int8_t *to, tk_q32 x)
{
    __asm__ volatile("vstrb.32 %q0, [%1]" : : "w"(x), "l"(to) : "memory");
}

/* of the first `count` lanes only */
TK_VECTOR void tk_store_some(int8_t *to, tk_q32 x, int32_t count)
{
    __asm__ volatile("vctp.32 %2\n\tvpst\n\tvstrbt.32 %q0, [%1]"
                     : : "w"(x), "l"(to), "r"(count) : "memory");
}

/* the low bytes of four lanes, or the first `count`, each to a distance of its own */
TK_VECTOR void tk_scatter_4(int8_t *to, tk_q32 at, tk_q32 x)
{
    __asm__ volatile("vstrb.32 %q0, [%1, %q2]" : : "w"(x), "r"(to), "w"(at) : "memory");
}

TK_VECTOR void tk_scatter_some(int8_t *to, tk_q32 at, tk_q32 x, int32_t count)
{
    __asm__ volatile("vctp.32 %3\n\tvpst\n\tvstrbt.32 %q0, [%1, %q2]"
                     : : "w"(x), "r"(to), "w"(at), "r"(count) : "memory");
}

/* eight bytes, or `count` of them, from distances of their own to distances of their own */
TK_VECTOR void tk_move_8(int8_t *to, tk_q16 to_at, const int8_t *from, tk_q16 from_at)
{
    tk_q16 x;
    __asm__ volatile("vldrb.u16 %q0, [%1, %q2]\n\tvstrb.16 %q0, [%3, %q4]"
                     : "=&w"(x) : "r"(from), "w"(from_at), "r"(to), "w"(to_at) : "memory");
}

TK_VECTOR void tk_move_some(int8_t *to, tk_q16 to_at, const int8_t *from, tk_q16 from_at,
                            int32_t count)
{
    tk_q16 x;
    __asm__ volatile("vctp.16 %5\n\tvpstt\n\tvldrbt.u16 %q0, [%1, %q2]\n\tvstrbt.16 %q0, [%3, %q4]"
                     : "=&w"(x)
                     : "r"(from), "w"(from_at), "r"(to), "w"(to_at), "r"(count) : "memory");
}

TK_VECTOR tk_q8 tk_load_q8(const int8_t *from)
{
    tk_q8 r;
    __asm__ volatile("vldrb.u8 %q0, [%1]" : "=w"(r) : "r"(from) : "memory");
    return r;
}

/* 16 bytes from distances of their own, 0 to 255 */
TK_VECTOR tk_q8 tk_gather_16(const int8_t *from, tk_q8 at)
{
    tk_q8 r;
    __asm__ volatile("vldrb.u8 %q0, [%1, %q2]" : "=&w"(r) : "r"(from), "w"(at) : "memory");
    return r;
}

TK_VECTOR void tk_vcopy(int8_t *to, const int8_t *from, int32_t count)
{
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
                     "1:\n\t"
                     "vldrb.u8 q0, [%[x]], #16\n\t"
                     "vstrb.8 q0, [%[y]], #16\n\t"
                     "letp lr, 1b\n"
                     "2:"
                     : [x] "+r"(from), [y] "+r"(to) : [n] "r"(count) : "lr", "q0", "memory");
}

TK_VECTOR void tk_vfill(int8_t *to, int32_t value, int32_t count)
{
    __asm__ volatile("vdup.8 q0, %[v]\n\t"
                     "wlstp.8 lr, %[n], 2f\n"
                     "1:\n\t"
                     "vstrb.8 q0, [%[y]], #16\n\t"
                     "letp lr, 1b\n"
                     "2:"
                     : [y] "+r"(to) : [v] "r"(value), [n] "r"(count) : "lr", "q0", "memory");
}

/* -- arithmetic on four lanes */

/* high half of 2ab, rounded half up */
TK_VECTOR tk_q32 tk_vqrdmulh(tk_q32 a, tk_q32 b)
{
    __asm__("vqrdmulh.s32 %q0, %q1, %q2" : "=w"(a) : "w"(a), "w"(b));
    return a;
}

/* a * 2^b, for negative b rounded half up */
TK_VECTOR tk_q32 tk_vrshl(tk_q32 a, tk_q32 b)
{
    __asm__("vrshl.s32 %q0, %q1, %q2" : "=w"(a) : "w"(a), "w"(b));
    return a;
}

/* the same with one number for all lanes */
TK_VECTOR tk_q32 tk_vqrdmulh_all(tk_q32 a, int32_t b)
{
    __asm__("vqrdmulh.s32 %q0, %q1, %2" : "=w"(a) : "w"(a), "r"(b));
    return a;
}

TK_VECTOR tk_q32 tk_vrshl_all(tk_q32 a, int32_t b)
{
    __asm__("vrshl.s32 %q0, %1" : "+w"(a) : "r"(b));
    return a;
}

TK_VECTOR tk_q32 tk_vmax(tk_q32 a, tk_q32 b)
{
    __asm__("vmax.s32 %q0, %q1, %q2" : "=w"(a) : "w"(a), "w"(b));
    return a;
}

TK_VECTOR tk_q32 tk_vmin(tk_q32 a, tk_q32 b)
{
    __asm__("vmin.s32 %q0, %q1, %q2" : "=w"(a) : "w"(a), "w"(b));
    return a;
}

/* saturated to eight bits, in the low byte of each lane; the rest of the lane is arbitrary */
TK_VECTOR tk_q32 tk_saturated(tk_q32 a)
{
    __asm__("vqmovnb.s32 %q0, %q0\n\tvqmovnb.s16 %q0, %q0" : "+w"(a));
    return a;
}

#else

TK_VECTOR tk_q32 tk_mve_dot_of(const int8_t *x, const int8_t *w, int32_t full, int32_t left)
{
    tk_q32 sum = {0, 0, 0, 0};
    for (int32_t step = 0; step < full + (left > 0); step++, w += 64) {
        const int32_t at = step < full ? 16 * step : full ? 16 * full + left - 16 : 0;
        const int32_t count = full ? 16 : left;
        for (int32_t c = 0; c < 4; c++)
            for (int32_t i = 0; i < count; i++)
                sum[c] += x[at + i] * w[16 * c + i];
    }
    return sum;
}

#define tk_mve_dot(a, x, w, rounds, full, left) ((a) = tk_mve_dot_of(x, w, full, left))
#define tk_mve_dots(a, b, x, y, w, rounds, full, left)                                           \
    ((a) = tk_mve_dot_of(x, w, full, left), (b) = tk_mve_dot_of(y, w, full, left))

TK_VECTOR tk_q32 tk_strip_of(const int8_t *s, int32_t step, const tk_q8 *w, int32_t count)
{
    tk_q32 sum = {0, 0, 0, 0};
    for (int32_t n = 0; n < 4; n++)
        for (int32_t i = 0; i < 16 * count; i++)
            sum[n] += s[n * step + i] * w[i / 16][i % 16];
    return sum;
}

#define tk_strip_1(a, s, step, w) ((a) = tk_strip_of(s, step, w, 1))
#define tk_strip_2(a, s, step, w) ((a) = tk_strip_of(s, step, w, 2))
#define tk_strip_3(a, s, step, w) ((a) = tk_strip_of(s, step, w, 3))
#define tk_strip_4(a, s, step, w) ((a) = tk_strip_of(s, step, w, 4))

TK_VECTOR tk_q32 tk_load_q32(const int32_t *from)
{
    const tk_q32 r = {from[0], from[1], from[2], from[3]};
    return r;
}

TK_VECTOR tk_q32 tk_load_4(const int8_t *from)
{
    const tk_q32 r = {from[0], from[1], from[2], from[3]};
    return r;
}

TK_VECTOR tk_q32 tk_load_some(const int8_t *from, int32_t count)
{
    tk_q32 r = {0, 0, 0, 0};
    for (int32_t i = 0; i < count; i++)
        r[i] = from[i];
    return r;
}

TK_VECTOR void tk_store_some(int8_t *to, tk_q32 x, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        to[i] = (int8_t)x[i];
}

TK_VECTOR void tk_store_4(int8_t *to, tk_q32 x)
{
    tk_store_some(to, x, 4);
}

TK_VECTOR void tk_scatter_some(int8_t *to, tk_q32 at, tk_q32 x, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        to[at[i]] = (int8_t)x[i];
}

TK_VECTOR void tk_scatter_4(int8_t *to, tk_q32 at, tk_q32 x)
{
    tk_scatter_some(to, at, x, 4);
}

TK_VECTOR void tk_move_some(int8_t *to, tk_q16 to_at, const int8_t *from, tk_q16 from_at,
                            int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        to[(uint16_t)to_at[i]] = from[(uint16_t)from_at[i]];
}

TK_VECTOR void tk_move_8(int8_t *to, tk_q16 to_at, const int8_t *from, tk_q16 from_at)
{
    tk_move_some(to, to_at, from, from_at, 8);
}

TK_VECTOR tk_q8 tk_load_q8(const int8_t *from)
{
    tk_q8 r;
    __builtin_memcpy(&r, from, 16);
    return r;
}

TK_VECTOR tk_q8 tk_gather_16(const int8_t *from, tk_q8 at)
{
    tk_q8 r;
    for (int32_t i = 0; i < 16; i++)
        r[i] = from[(uint8_t)at[i]];
    return r;
}

TK_VECTOR void tk_vcopy(int8_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        to[i] = from[i];
}

TK_VECTOR void tk_vfill(int8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        to[i] = (int8_t)value;
}

TK_VECTOR tk_q32 tk_vqrdmulh(tk_q32 a, tk_q32 b)
{
    for (int32_t i = 0; i < 4; i++)
        a[i] = (int32_t)(((int64_t)a[i] * b[i] + (1LL << 30)) >> 31);
    return a;
}

TK_VECTOR tk_q32 tk_vrshl(tk_q32 a, tk_q32 b)
{
    for (int32_t i = 0; i < 4; i++)
        a[i] = b[i] < 0 ? (int32_t)((a[i] + (1LL << (-b[i] - 1))) >> -b[i])
                        : (int32_t)((uint32_t)a[i] << b[i]);
    return a;
}

TK_VECTOR tk_q32 tk_vqrdmulh_all(tk_q32 a, int32_t b)
{
    const tk_q32 all = {b, b, b, b};
    return tk_vqrdmulh(a, all);
}

TK_VECTOR tk_q32 tk_vrshl_all(tk_q32 a, int32_t b)
{
    const tk_q32 all = {b, b, b, b};
    return tk_vrshl(a, all);
}

TK_VECTOR tk_q32 tk_vmax(tk_q32 a, tk_q32 b)
{
    for (int32_t i = 0; i < 4; i++)
        a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

TK_VECTOR tk_q32 tk_vmin(tk_q32 a, tk_q32 b)
{
    for (int32_t i = 0; i < 4; i++)
        a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}

TK_VECTOR tk_q32 tk_saturated(tk_q32 a)
{
    for (int32_t i = 0; i < 4; i++)
        a[i] = a[i] < -128 ? -128 : a[i] > 127 ? 127 : a[i];
    return a;
}

#endif

TK_VECTOR tk_q32 tk_all_q32(int32_t x)
{
    const tk_q32 r = {x, x, x, x};
    return r;
}

/* 0, step, 2 step ... */
TK_VECTOR tk_q32 tk_steps_q32(int32_t step)
{
    const tk_q32 r = {0, step, 2 * step, 3 * step};
    return r;
}

TK_VECTOR tk_q16 tk_steps_q16(int32_t step)
{
    tk_q16 r;
    for (int32_t i = 0; i < 8; i++)
        r[i] = (int16_t)(i * step);
    return r;
}

#endif
