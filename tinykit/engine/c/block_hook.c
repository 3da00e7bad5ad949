/* Counts instructions in Unicorn's block hook.

   A block is a straight run of Thumb code. Its length in instructions is decoded once and kept by
   start address; a halfword that begins with 0b11101, 0b11110 or 0b11111 is the first of two.
   Instructions that an IT block predicates away count like the others, as they do in QEMU.

   Counting starts a new row of per_op when a block begins at a marked address (the function of an
   op), so that callees count for the op that called them. */
#include <stdint.h>

struct tk_counter {
    uint64_t total;
    uint64_t limit;
    uint64_t *per_op;         /* one count an op */
    const uint8_t *image;     /* the code, a copy */
    uint32_t base;            /* address of image[0] */
    uint32_t bytes;
    const int32_t *marks;     /* by halfword: the op that begins there, or -1 */
    uint32_t *known;          /* by halfword: (bytes << 16 | instructions) of the block there, or 0 */
    uint64_t current;         /* the row in per_op */
    int32_t (*stop)(void *);  /* uc_emu_stop */
    uint32_t exceeded;
    uint32_t stray;           /* address of a block outside the image, or 0 */
    uint32_t end;             /* address that the entry function returns to */
};

void tk_on_block(void *engine, uint64_t address, uint32_t size, void *user)
{
    struct tk_counter *c = user;
    const uint32_t offset = (uint32_t)address - c->base;
    uint32_t found, count;

    if ((uint32_t)address == c->end)
        return;
    if (offset >= c->bytes || size > c->bytes - offset || size > 0xFFFF) {
        c->stray = (uint32_t)address;
        c->stop(engine);
        return;
    }
    found = c->known[offset >> 1];
    if (found >> 16 != size) {
        const uint8_t *code = c->image + offset;
        uint32_t at = 0;
        for (count = 0; at < size; count++)
            at += code[at + 1] >= 0xE8 ? 4 : 2;
        c->known[offset >> 1] = found = size << 16 | count;
    }
    if (c->marks[offset >> 1] >= 0)
        c->current = (uint64_t)c->marks[offset >> 1];
    count = found & 0xFFFF;
    c->total += count;
    c->per_op[c->current] += count;
    if (c->total > c->limit) {
        c->exceeded = 1;
        c->stop(engine);
    }
}
