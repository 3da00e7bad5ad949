/* Follows in Unicorn's hooks what a flash memory behind two small caches would have to read.

   A read brings one unit of flash. Units that were used last are kept, fully associative: some for
   code, some for constants. Counted are the reads that code misses where it goes on, where it jumps
   to, and those that loads miss. Rows belong to ops, as in block_hook.c. */
#include <stdint.h>

enum { SEQUENTIAL, JUMPED, LOADED, KINDS };

struct tk_cache {
    uint32_t *used;  /* by unit of flash: when it was used last, or 0 where it is not kept */
    uint32_t *kept;  /* the units in the cache */
    uint32_t size;   /* most units in it */
    uint32_t count;  /* units in it */
};

struct tk_flash {
    struct tk_cache code, data;
    const int32_t *marks;  /* by halfword of code: the op that begins there, or -1 */
    uint64_t *missed;      /* rows of KINDS counters */
    uint32_t base;         /* address of the first halfword of code */
    uint32_t bytes;        /* of code */
    uint32_t first, end;   /* addresses of flash */
    uint32_t shift;        /* a unit is 1 << shift bytes */
    uint32_t row;          /* of the op that runs */
    uint32_t last;         /* unit that code was read from last, plus 1; UINT32_MAX at first */
    uint32_t now;          /* counts uses */
};

/* Whether a unit had to be read; it is kept from now on. */
static int use(struct tk_flash *f, struct tk_cache *cache, uint32_t unit)
{
    uint32_t place, oldest = 0;
    const int missed = cache->used[unit] == 0;

    if (f->now == UINT32_MAX) { /* uses no longer fit: begin with empty caches */
        for (uint32_t i = 0; i < f->code.count; i++)
            f->code.used[f->code.kept[i]] = 0;
        for (uint32_t i = 0; i < f->data.count; i++)
            f->data.used[f->data.kept[i]] = 0;
        f->code.count = f->data.count = f->now = 0;
    }
    f->now++;
    if (missed) {
        if (cache->count < cache->size) {
            place = cache->count++;
        } else {
            for (uint32_t i = 1; i < cache->count; i++)
                if (cache->used[cache->kept[i]] < cache->used[cache->kept[oldest]])
                    oldest = i;
            place = oldest;
            cache->used[cache->kept[place]] = 0;
        }
        cache->kept[place] = unit;
    }
    cache->used[unit] = f->now;
    return missed;
}

void tk_flash_block(void *engine, uint64_t address, uint32_t size, void *user)
{
    struct tk_flash *f = user;
    const uint32_t offset = (uint32_t)address - f->base;
    uint32_t unit, stop;

    (void)engine;
    if (offset >= f->bytes || size == 0 || size > f->bytes - offset)
        return; /* where the entry function returns to */
    if (f->marks[offset >> 1] >= 0)
        f->row = (uint32_t)f->marks[offset >> 1];
    stop = ((uint32_t)address + size - 1 - f->first) >> f->shift;
    for (unit = ((uint32_t)address - f->first) >> f->shift; unit <= stop; unit++) {
        if (unit + 1 == f->last)
            continue; /* the core has it */
        if (use(f, &f->code, unit))
            f->missed[f->row * KINDS + (unit == f->last ? SEQUENTIAL : JUMPED)]++;
        f->last = unit + 1;
    }
}

void tk_flash_load(void *engine, int type, uint64_t address, int size, int64_t value, void *user)
{
    struct tk_flash *f = user;

    (void)engine, (void)type, (void)size, (void)value;
    if ((uint32_t)address >= f->first && (uint32_t)address < f->end)
        if (use(f, &f->data, ((uint32_t)address - f->first) >> f->shift))
            f->missed[f->row * KINDS + LOADED]++;
}
