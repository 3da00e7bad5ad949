"""What "Inside the engine" shows, in words."""

from __future__ import annotations

from tinykit.explore._engine_build import Built, Techniques
from tinykit.plots.style import short

#: option, its name for people
_NAMES = {"simd": "SIMD", "unroll": "Unroll", "fuse": "Fuse"}


def words(
    model: str, core: str, chosen: Techniques, techniques: Techniques, built: Built, plain: Built
) -> str:
    """The readout: time, memory, what a knob cannot do here, and whether the outputs are right."""
    lines = [
        f"{model}: {_time(core, built, plain)}",
        _memory(built, plain),
        *_strips(techniques, built),
        *_idle(core, chosen, techniques),
        *_fused(techniques, built),
        *_in_place(techniques, built, plain),
    ]
    if built.exact:
        how = "to rounding (they are floats)" if built.floats else "bit for bit"
        lines.append(
            f"On the random input that was run, the outputs are the reference interpreter's, {how}."
        )
    else:
        lines.append(
            "The outputs DIFFER from the reference interpreter's: please report this model."
        )
    return "\n".join(lines)


def _time(core: str, built: Built, plain: Built) -> str:
    counted = f"{short(built.total)} instructions an inference (counted on an emulated {core})"
    if built.total == plain.total:
        return f"{counted}, as many as with no technique."
    more, less = plain.total / built.total, built.total / plain.total
    ratio = f"{more:.2f}× fewer" if more > 1 else f"{less:.2f}× as many"
    heaviest = max(range(len(built.layers)), key=built.instructions.__getitem__)
    share = built.instructions[heaviest] / built.total
    return (
        f"{counted}, {ratio} {'than' if more > 1 else 'as'} with no technique "
        f"({short(plain.total)}). Layer {built.layers[heaviest]} takes {share:.0%} of them."
    )


def _memory(built: Built, plain: Built) -> str:
    arena = built.arena_bytes / plain.arena_bytes - 1
    change = (
        "as much as with no technique"
        if built.arena_bytes == plain.arena_bytes
        else f"{abs(arena):.0%} {'more' if arena > 0 else 'less'} than with no technique "
        f"({plain.arena_bytes:,} B)"
    )
    return (
        f"Arena {built.arena_bytes:,} B, {change}; stack {built.stack_bytes:,} B; flash "
        f"{built.flash_bytes:,} B, with no technique {plain.flash_bytes:,} B (all counted)."
    )


def _strips(techniques: Techniques, built: Built) -> list[str]:
    if techniques.patches is None:
        return []
    if not built.patches:
        return ["Patches: none; the arena is smallest without."]
    if not built.recomputed:
        return [f"Patches: {built.patches}."]
    twice = f"{built.recomputed:.1%} of all multiply-accumulates (counted)"
    return [f"Patches: {built.patches}, {twice}."]


def _idle(core: str, chosen: Techniques, techniques: Techniques) -> list[str]:
    """Knobs that are on and change nothing."""
    idle = [
        name
        for option, name in _NAMES.items()
        if getattr(chosen.options, option) and not getattr(techniques.options, option)
    ]
    if not idle:
        return []
    does = "does" if len(idle) == 1 else "do"
    if not chosen.options.specialise:
        return [f"{_list(idle)} {does} nothing while Own kernels is off."]
    return [f"{_list(idle)} {does} nothing here: a {core} has no such instructions."]


def _fused(techniques: Techniques, built: Built) -> list[str]:
    if not techniques.options.fuse or any(leader is not None for leader in built.fused):
        return []
    if not built.fusible:
        kernel = "kernel" if techniques.options.simd else "kernel without SIMD"
        return [f"Fuse does nothing here: no {kernel} computes two of these layers in one pass."]
    if techniques.always:
        return ["Fuse joins no layers in these patches: the arena is smaller with each by itself."]
    return [
        "Fuse does nothing here: no two layers are faster in one pass in an arena of this size."
    ]


def _in_place(techniques: Techniques, built: Built, plain: Built) -> list[str]:
    """Without kernels of their own, few layers can work in place; `plain` never does."""
    options = techniques.options
    if options.specialise or not options.in_place or techniques.patches is not None:
        return []
    if built.arena_bytes != plain.arena_bytes:
        return []
    return [
        "In place saves no memory here: where the arena is fullest, no shared kernel writes over "
        "its input."
    ]


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
