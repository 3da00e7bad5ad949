#include "broadcast.h"

void tk_each_row(const struct tk_broadcast *s, tk_row row, const void *params, const void *a,
                 const void *b, void *out, int32_t width)
{
    uint8_t *to = out;

    for (int32_t i = 0; i < s->size[0]; i++)
        for (int32_t j = 0; j < s->size[1]; j++)
            for (int32_t k = 0; k < s->size[2]; k++) {
                const int32_t at_a = i * s->a_step[0] + j * s->a_step[1] + k * s->a_step[2];
                const int32_t at_b = i * s->b_step[0] + j * s->b_step[1] + k * s->b_step[2];
                row(params, (const uint8_t *)a + at_a * width, s->a_step[3],
                    (const uint8_t *)b + at_b * width, s->b_step[3], to, s->size[3]);
                to += s->size[3] * width;
            }
}
