#include "copy.h"

static void tk_copy_line(const struct tk_axis *axis, int32_t unit, const uint8_t *from, uint8_t *to)
{
    const int32_t from_step = axis->from_step, to_step = axis->to_step;
    int32_t left = axis->size;

    if (unit == 1) {
        for (; left > 0; left--, from += from_step, to += to_step)
            *to = *from;
    } else if (unit == 2) {
        for (; left > 0; left--, from += from_step, to += to_step)
            *(uint16_t *)to = *(const uint16_t *)from;
    } else {
        for (; left > 0; left--, from += from_step, to += to_step)
            __builtin_memcpy(to, from, (uint32_t)unit);
    }
}

void tk_copy(const struct tk_copy *p, const void *from, void *to)
{
    const int32_t outer = p->rank - 1;
    const uint8_t *source = (const uint8_t *)from + p->from_at;
    uint8_t *sink = (uint8_t *)to + p->to_at;
    int32_t done[8] = {0};
    int32_t axis;

    do {
        tk_copy_line(&p->axes[outer], p->unit, source, sink);
        for (axis = outer - 1; axis >= 0; axis--) { /* the next line: count up like an odometer */
            source += p->axes[axis].from_step;
            sink += p->axes[axis].to_step;
            if (++done[axis] < p->axes[axis].size)
                break;
            source -= p->axes[axis].from_step * p->axes[axis].size;
            sink -= p->axes[axis].to_step * p->axes[axis].size;
            done[axis] = 0;
        }
    } while (axis >= 0);
}

void tk_fill(void *to, const void *element, int32_t unit, int32_t count)
{
    uint8_t *sink = to;

    if (unit == 1) {
        __builtin_memset(to, *(const uint8_t *)element, (uint32_t)count);
        return;
    }
    for (; count > 0; count--, sink += unit)
        for (int32_t i = 0; i < unit; i++)
            sink[i] = ((const uint8_t *)element)[i];
}
