/* Start-up and harness for QEMU's boards: reads samples from one file through semihosting, runs
   the models on them, writes outputs, the stack's depth and what was overrun to another.

   Inference runs in thread mode on a stack of its own, under a memory protection unit that knows
   four pieces of memory: constants and code (read only), the harness's own, the stack and the
   arena. Whatever else is touched faults at once. The protection unit is coarser than a byte: the
   few bytes between a piece and the region around it are painted and looked at afterwards.

   The generated harness.h says what the models want. */
#include <stdint.h>
#include "harness.h"

#define TK_WORD(address) (*(volatile uint32_t *)(address))
#define TK_PAINT 0xA5u

/* where harness.h put RAM: the harness's own 64 KB, then the stack, the arena at the very end */
#define TK_STACK_TOP (TK_RAM + 0x40000u)
#define TK_ARENA_TOP (TK_RAM + 0x400000u)

struct tk_model {
    void (*const *steps)(uint8_t *arena); /* ends with a null */
    const uint32_t (*inputs)[2];          /* offset and bytes; ends with 0 bytes */
    const uint32_t (*outputs)[2];
    uint32_t arena_bytes, samples;
};

TK_TABLES
static const struct tk_model tk_models[] = {TK_MODELS};

/* What is written after each sample. A program that faults writes one with `fault` set, and ends. */
struct tk_record {
    uint32_t stack;   /* bytes used */
    uint32_t below;   /* distance of the lowest painted byte below the arena that was written, or 0 */
    uint32_t step;    /* at which step it was seen */
    uint32_t fault;   /* the fault status register, 0: none */
    uint32_t program; /* address of the faulting instruction, 0: unknown */
    uint32_t address; /* that was accessed, 0: unknown */
};

static struct tk_record tk_record;
static int tk_out;

void tk_reset(void);
void tk_fault(void);
void tk_returned(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    (const void *)(TK_RAM + 0x10000u), (const void *)tk_reset, (const void *)tk_fault,
    (const void *)tk_fault, (const void *)tk_fault, (const void *)tk_fault,
    (const void *)tk_fault, (const void *)tk_fault,
};

static void tk_protect(uint32_t on)
{
    TK_WORD(0xE000ED94) = on; /* MPU_CTRL */
    __asm__ volatile("dsb\n\tisb" : : : "memory");
}

/* Without protection: QEMU looks up whole pages, of which only a part may be accessible. */
static int tk_host(int operation, const void *arguments)
{
    int result;

    tk_protect(0);
    {
        register int r0 __asm__("r0") = operation;
        register const void *r1 __asm__("r1") = arguments;
        __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
        result = r0;
    }
    tk_protect(1);
    return result;
}

static int tk_open(const char *name, uint32_t mode, uint32_t length)
{
    const uint32_t arguments[3] = {(uint32_t)name, mode, length};
    return tk_host(0x01, arguments);
}

static void tk_read(int file, void *to, uint32_t count)
{
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)to, count};
    tk_host(0x06, arguments);
}

static void tk_write(int file, const void *from, uint32_t count)
{
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)from, count};
    tk_host(0x05, arguments);
}

static void tk_exit(void)
{
    tk_host(0x18, (const void *)0x20026); /* ADP_Stopped_ApplicationExit */
    for (;;)
        ;
}

/* Region `number`: `bytes` that end at `top`. Returns where the region really begins, as the unit
   only knows multiples of something. */
static uint32_t tk_region(uint32_t number, uint32_t top, uint32_t bytes, int writable)
{
    TK_WORD(0xE000ED98) = number; /* MPU_RNR */
#if TK_V8M
    const uint32_t base = (top - bytes) & ~31u;
    TK_WORD(0xE000ED9C) = base | (writable ? 1u : 4u);  /* MPU_RBAR: read and write, XN; or read */
    TK_WORD(0xE000EDA0) = (top - 1u) - ((top - 1u) & 31u) + 1u; /* MPU_RLAR: attributes 0, enabled */
    return base;
#else
    /* a power of two, of which the lowest eighths can be left out */
    uint32_t log = 8, without;
    while ((1u << log) < bytes)
        log++;
    without = ((1u << log) - bytes) >> (log - 3);
    TK_WORD(0xE000ED9C) = top - (1u << log);
    TK_WORD(0xE000EDA0) = (writable ? 0x13020000u : 0x06020000u) | ((1u << without) - 1u) << 8
                          | (log - 1u) << 1 | 1u; /* MPU_RASR */
    return top - (1u << log) + (without << (log - 3));
#endif
}

static void tk_set_up_protection(void)
{
#if TK_V8M
    TK_WORD(0xE000EDC0) = 0x44; /* MPU_MAIR0: normal memory, not cached */
    tk_region(0, TK_FLASH + 0x200000u, 0x200000u - 0x1000u, 0);
#else
    tk_region(0, TK_FLASH + 0x400000u, 0x400000u, 0);
    TK_WORD(0xE000ED98) = 4; /* page 0, above region 0: no access */
    TK_WORD(0xE000ED9C) = 0;
    TK_WORD(0xE000EDA0) = 0x10000000u | 11u << 1 | 1u;
#endif
    tk_region(1, TK_RAM + 0x10000u, 0x10000u, 1);
    TK_WORD(0xE000ED24) |= 7u << 16; /* faults of their own for memory, bus and usage */
    tk_protect(1);
}

/* step(arena) on the stack that ends at `top`. */
__attribute__((naked, noinline)) static void tk_on_stack(void (*step)(uint8_t *), uint8_t *arena,
                                                         uint32_t top)
{
    __asm__ volatile("push {r4, lr}\n\t"
                     "mov r4, r0\n\t"
                     "mov r0, r1\n\t"
                     "msr psp, r2\n\t"
                     "mrs r3, control\n\t"
                     "orr r3, r3, #2\n\t"
                     "msr control, r3\n\t"
                     "isb\n\t"
                     "blx r4\n\t"
                     ".global tk_returned\n\t"
                     ".thumb_func\n\t"
                     ".type tk_returned, %function\n"
                     "tk_returned:\n\t"
                     "mrs r3, control\n\t"
                     "bic r3, r3, #2\n\t"
                     "msr control, r3\n\t"
                     "isb\n\t"
                     "pop {r4, pc}");
}

static uint32_t tk_first_unpainted(const volatile uint8_t *from, const volatile uint8_t *to)
{
    const volatile uint8_t *at = from;
    while (at < to && *at == TK_PAINT)
        at++;
    return (uint32_t)(to - at);
}

static void tk_paint(volatile uint8_t *from, const volatile uint8_t *to)
{
    while (from < to)
        *from++ = TK_PAINT;
}

static void tk_run(const struct tk_model *model, uint8_t *arena, uint8_t *below)
{
    uint8_t *const stack = (uint8_t *)tk_region(2, TK_STACK_TOP, TK_STACK_BYTES, 1);
    uint8_t *const limit = (uint8_t *)TK_STACK_TOP - TK_STACK_BYTES;

    tk_paint(stack, (uint8_t *)TK_STACK_TOP);
    tk_paint(below, arena);
#if TK_V8M
    __asm__ volatile("msr psplim, %0" : : "r"(limit));
#endif
    for (tk_record.step = 0; model->steps[tk_record.step]; tk_record.step++) {
        tk_on_stack(model->steps[tk_record.step], arena, TK_STACK_TOP);
        tk_record.below = tk_first_unpainted(below, arena);
        tk_record.stack = tk_first_unpainted(stack, (uint8_t *)TK_STACK_TOP);
        if (tk_record.below || tk_record.stack > TK_STACK_BYTES)
            return;
    }
}

void tk_main(void)
{
    int in;

    tk_set_up_protection();
    in = tk_open("in.bin", 1, 6);
    tk_out = tk_open("out.bin", 5, 7);

    for (uint32_t m = 0; m < sizeof tk_models / sizeof tk_models[0]; m++) {
        const struct tk_model *model = &tk_models[m];
        uint8_t *const arena = (uint8_t *)(TK_ARENA_TOP - model->arena_bytes);
        uint8_t *const below = (uint8_t *)tk_region(3, TK_ARENA_TOP, model->arena_bytes, 1);
        for (uint32_t sample = 0; sample < model->samples; sample++) {
            tk_paint(arena, (uint8_t *)TK_ARENA_TOP);
            for (uint32_t i = 0; model->inputs[i][1]; i++)
                tk_read(in, arena + model->inputs[i][0], model->inputs[i][1]);
            tk_run(model, arena, below);
            tk_write(tk_out, &tk_record, sizeof tk_record);
            for (uint32_t i = 0; model->outputs[i][1]; i++)
                tk_write(tk_out, arena + model->outputs[i][0], model->outputs[i][1]);
        }
    }
    tk_exit();
}

/* Every fault ends here, on the harness's stack. */
__attribute__((used)) void tk_fault(void)
{
    const uint32_t status = TK_WORD(0xE000ED28);
    uint32_t stack;

    __asm__ volatile("mrs %0, psp" : "=r"(stack));
    tk_record.fault = status ? status : 0x80000000u;
    /* the core pushes the program counter on the stack, where there is still room on it */
    if (!(status & 0x00101010u) && stack >= TK_STACK_TOP - TK_STACK_BYTES
        && stack <= TK_STACK_TOP - 32)
        tk_record.program = ((const uint32_t *)stack)[6];
    if (status & 0x80)
        tk_record.address = TK_WORD(0xE000ED34); /* MMFAR */
    else if (status & 0x8000)
        tk_record.address = TK_WORD(0xE000ED38); /* BFAR */
    tk_write(tk_out, &tk_record, sizeof tk_record);
    tk_exit();
}

void tk_reset(void)
{
#ifdef __ARM_FP
    TK_WORD(0xE000ED88) |= 0xFu << 20; /* CPACR: full access to floating point and Helium */
    __asm__ volatile("dsb\n\tisb");
#endif
    tk_main();
}
