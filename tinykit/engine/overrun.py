"""What an emulated program did to memory that is not its own, in words, and what to do about it."""

from __future__ import annotations

#: bytes of stack that an inference may use, unless another limit is given
STACK_BYTES = 64 * 1024

ARENA_ADVICE = (
    "the kernel writes more than the memory plan gave it: compile with tinykit.engine.PLAIN to go "
    "on without specialised kernels, and report the model"
)
PLAN_ADVICE = "the memory plan is too small for its own tensors: make it with tinykit.engine.plan"
STACK_ADVICE = "raise stack_bytes, or look for recursion and large local arrays in that function"
CONSTANT_ADVICE = (
    "code and constants are read-only on a chip as well: a pointer into them is written through"
)


def sentence(what: str, function: str | None, advice: str) -> str:
    """One error text: what happened, where, what to do."""
    place = f" in {function}" if function else ""
    return f"{what}{place}" + (f". What to do: {advice}" if advice else "")


def below(distance: int, arena_bytes: int) -> tuple[str, str]:
    """Painted bytes below the arena have changed, the lowest `distance` bytes before it."""
    return (
        f"memory just below the arena was written, {distance} bytes before its start "
        f"(arena of {arena_bytes:,} bytes)",
        ARENA_ADVICE,
    )


def deep(used: int, limit: int) -> tuple[str, str]:
    """The stack went beyond its limit."""
    return (
        f"the stack grew to at least {used:,} bytes and overran its limit of {limit:,} bytes "
        "(stack overflow)",
        STACK_ADVICE,
    )


def place(
    address: int, arena: int, arena_bytes: int, stack_top: int, stack_bytes: int
) -> tuple[str, str]:
    """What lies at an address that may not be accessed, and what to do."""
    if arena + arena_bytes <= address < arena + arena_bytes + (1 << 20):
        past = address - arena - arena_bytes
        return f"{past} bytes past the end of the arena of {arena_bytes:,} bytes", ARENA_ADVICE
    if stack_top - (1 << 20) <= address < stack_top:
        return f"below the stack of {stack_bytes:,} bytes (stack overflow)", STACK_ADVICE
    if arena - (2 << 20) < address < arena:
        return f"{arena - address} bytes below the arena of {arena_bytes:,} bytes", ARENA_ADVICE
    if address < 0x1000:
        return "a null pointer", ""
    return "where no memory is", ""


def fault(
    status: int, address: int, arena: int, arena_bytes: int, stack_top: int, stack_bytes: int
) -> tuple[str, str]:
    """A fault of the core, from its configurable fault status register (Armv7-M B3.2.15)."""
    if status & 0x00101010:
        return (
            f"the stack overran its limit of {stack_bytes:,} bytes (stack overflow)",
            STACK_ADVICE,
        )
    if status & 0x0101:
        return "fetched code where no code is", ""
    if status & 0x8282:
        where, advice = place(address, arena, arena_bytes, stack_top, stack_bytes)
        if not where.startswith(("where", "a null")) or not _constant(address):
            return f"accessed 0x{address:08x}, {where},", advice
        return f"wrote at 0x{address:08x}, memory that may not be written,", CONSTANT_ADVICE
    if status & 0x00010000:
        return "came to an undefined instruction", ""
    return f"raised a fault (status 0x{status:08x})", ""


def _constant(address: int) -> bool:
    return 0x1000 <= address < 0x20000000
