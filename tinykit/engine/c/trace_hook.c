/* Records in Unicorn's block hook where blocks begin and end, and which ends were left by a jump.

   Sums over addresses give how often each instruction ran; with the jumps, how often each of two
   neighbours ran one after the other. Rows belong to ops, as in block_hook.c. */
#include <stdint.h>

struct tk_trace {
    uint32_t base;         /* address of the first halfword */
    uint32_t bytes;        /* of code */
    uint32_t last;         /* address at which the block before ended, or 0 */
    uint32_t row;          /* of the op that runs */
    uint64_t columns;      /* halfwords of code and one more */
    const int32_t *marks;  /* by halfword: the op that begins there, or -1 */
    uint32_t *begun;       /* rows of columns: blocks that began at each halfword */
    uint32_t *ended;       /* blocks that ended before each halfword */
    uint32_t *left;        /* those of them that something else than this halfword followed */
};

void tk_trace_block(void *engine, uint64_t address, uint32_t size, void *user)
{
    struct tk_trace *t = user;
    const uint32_t offset = (uint32_t)address - t->base;

    (void)engine;
    if (t->last && t->last != (uint32_t)address)
        t->left[t->row * t->columns + ((t->last - t->base) >> 1)]++;
    t->last = 0;
    if (offset >= t->bytes || size > t->bytes - offset)
        return; /* where the entry function returns to */
    if (t->marks[offset >> 1] >= 0)
        t->row = (uint32_t)t->marks[offset >> 1];
    t->begun[t->row * t->columns + (offset >> 1)]++;
    t->ended[t->row * t->columns + ((offset + size) >> 1)]++;
    t->last = (uint32_t)address + size;
}
