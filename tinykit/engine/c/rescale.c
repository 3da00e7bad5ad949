#include "rescale.h"
#include "fixedpoint.h"

static inline int32_t tk_rescale_one(const struct tk_rescale *p, int32_t x)
{
    const int32_t y = x + p->in_offset;
    const int32_t z = y < 0 ? tk_scale(y, p->below_mantissa, p->below_shift)
                            : tk_scale(y, p->mantissa, p->shift);

    return tk_clamp(z + p->out_offset, p->low, p->high);
}

/* One function for each pair of types; they differ in nothing else. */
#define TK_RESCALE(name, from, to)                                                        \
    void name(const struct tk_rescale *p, const from *in, to *out, int32_t count)         \
    {                                                                                     \
        for (; count > 0; count--)                                                        \
            *out++ = (to)tk_rescale_one(p, *in++);                                        \
    }

TK_RESCALE(tk_rescale_s8_s16, int8_t, int16_t)
TK_RESCALE(tk_rescale_s8_s32, int8_t, int32_t)
TK_RESCALE(tk_rescale_s16_s8, int16_t, int8_t)
TK_RESCALE(tk_rescale_s16_s16, int16_t, int16_t)
TK_RESCALE(tk_rescale_s16_s32, int16_t, int32_t)
TK_RESCALE(tk_rescale_s32_s8, int32_t, int8_t)
TK_RESCALE(tk_rescale_s32_s16, int32_t, int16_t)
