/* A QEMU plugin that counts instructions by op, as block_hook.c does in Unicorn.

   Arguments: marks=FILE (words: address, index) and out=FILE. A block of code counts for the mark
   that was passed last. Index 0xFFFFFFFE begins a count (a model's entry function, whose own
   instructions count for its first op), 0xFFFFFFFF ends it: the lowest and highest mark that were
   passed are written, and the counts between them.

   Debian ships QEMU without its plugin header; what is used of version 1 of that interface (QEMU
   4.2 to 8.1; docs/devel/tcg-plugins) is declared here. */
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define BEGIN 0xFFFFFFFEu
#define END 0xFFFFFFFFu
#define MOST 65536

struct qemu_plugin_tb;
typedef uint64_t qemu_plugin_id_t;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*call)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*call)(unsigned, void *),
                                          int flags, void *user);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

/* of the C library that QEMU itself uses */
int open(const char *name, int flags, ...);
long read(int file, void *to, size_t count);
long write(int file, const void *from, size_t count);
int creat(const char *name, unsigned mode);

EXPORT int qemu_plugin_version = 1;

static uint32_t marks[MOST][2];
static uint64_t counts[MOST];
static uint32_t known, lowest, highest, current;
static int counting, out;

static void on_block(unsigned cpu, void *user)
{
    const uint64_t packed = (uint64_t)(uintptr_t)user;
    const uint32_t mark = (uint32_t)(packed >> 16), instructions = packed & 0xFFFF;

    (void)cpu;
    if (mark == END && counting) {
        const uint64_t head[2] = {lowest, highest};
        counting = 0;
        write(out, head, sizeof head);
        if (lowest <= highest)
            write(out, counts + lowest, (highest - lowest + 1) * sizeof counts[0]);
        return;
    }
    if (mark == BEGIN) {
        for (uint32_t i = lowest; i <= highest && i < MOST; i++)
            counts[i] = 0;
        counting = 1;
        current = MOST - 1; /* moved to the first op once that is known */
        counts[current] = 0;
        lowest = MOST;
        highest = 0;
    } else if (mark && counting) {
        const uint32_t index = mark - 1;
        if (lowest == MOST) {
            counts[index] = counts[current];
            lowest = highest = index;
        }
        lowest = index < lowest ? index : lowest;
        highest = index > highest ? index : highest;
        current = index;
    }
    if (counting)
        counts[current] += instructions;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const uint64_t address = qemu_plugin_tb_vaddr(tb);
    uint64_t mark = 0;

    (void)id;
    for (uint32_t i = 0; i < known && !mark; i++)
        if (marks[i][0] == address)
            mark = marks[i][1] >= BEGIN ? marks[i][1] : marks[i][1] + 1;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, 0,
                                         (void *)(uintptr_t)(mark << 16 | qemu_plugin_tb_n_insns(tb)));
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    int file;

    (void)info;
    if (argc != 2)
        return -1;
    file = open(argv[0] + sizeof "marks=" - 1, 0);
    out = creat(argv[1] + sizeof "out=" - 1, 0600);
    if (file < 0 || out < 0)
        return -1;
    known = (uint32_t)(read(file, marks, sizeof marks) / (long)sizeof marks[0]);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
