/* Start-up and harness for QEMU's boards: reads samples from one file through semihosting, runs
   the model on each, writes outputs and the stack's depth to another.

   The generated harness.h says what the model wants. */
#include <stdint.h>
#include "harness.h"

void tk_reset(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    (void *)TK_STACK_TOP, (void *)tk_reset, (void *)tk_reset, (void *)tk_reset,
};

static int tk_host(int operation, const void *arguments)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static int tk_open(const char *name, uint32_t mode, uint32_t length)
{
    const uint32_t arguments[3] = {(uint32_t)name, mode, length};
    return tk_host(0x01, arguments);
}

static int tk_read(int file, void *to, uint32_t count)
{
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)to, count};
    return tk_host(0x06, arguments);
}

static void tk_write(int file, const void *from, uint32_t count)
{
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)from, count};
    tk_host(0x05, arguments);
}

static __attribute__((aligned(16))) uint8_t arena[TK_ARENA_BYTES + 16];

static __attribute__((noinline)) uint32_t tk_measure(void)
{
    volatile uint8_t *stack_top = __builtin_frame_address(0);
    volatile uint8_t *bottom = stack_top - TK_PAINTED;
    uint32_t unused = 0;

    for (uint32_t i = 0; i < TK_PAINTED - 64; i++)
        bottom[i] = 0xA5;
    TK_INVOKE(arena);
    while (unused < TK_PAINTED && bottom[unused] == 0xA5)
        unused++;
    return TK_PAINTED - unused;
}

void tk_main(void)
{
    const int in = tk_open("in.bin", 1, 6), out = tk_open("out.bin", 5, 7);

    for (uint32_t sample = 0; sample < TK_SAMPLES; sample++) {
        static const uint32_t inputs[][2] = {TK_INPUTS}, outputs[][2] = {TK_OUTPUTS};
        uint32_t stack;
        for (uint32_t i = 0; i + 1 < sizeof inputs / sizeof inputs[0]; i++)
            tk_read(in, arena + inputs[i][0], inputs[i][1]);
        stack = tk_measure();
        tk_write(out, &stack, 4);
        for (uint32_t i = 0; i + 1 < sizeof outputs / sizeof outputs[0]; i++)
            tk_write(out, arena + outputs[i][0], outputs[i][1]);
    }
    tk_host(0x18, (const void *)0x20026); /* ADP_Stopped_ApplicationExit */
    for (;;)
        ;
}

void tk_reset(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: full access to the FPU */
    __asm__ volatile("dsb\n\tisb");
#endif
    tk_main();
}
