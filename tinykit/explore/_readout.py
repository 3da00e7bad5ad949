"""The readout of "Compress and deploy": what the figures show, in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinykit.plots.style import kib, short

if TYPE_CHECKING:
    from tinykit.explore._deployment import Deployment
    from tinykit.explore.compress_deploy import Outcome
    from tinykit.targets.boards import Board
    from tinykit.targets.profile import Budget


def readout(result: Outcome) -> str:
    """Lines of text: does it fit, what it takes, how accurate it is, what would be better."""
    lines = []
    if result.upload is not None:
        lines.append(f"Your file: {_memory(result.upload, result.board)}")
        lines.append(f"{_speed(result.upload, result.board)} Its accuracy is unknown here.")
        lines += [f"Note: {note}" for note in result.upload.notes]
        lines.append(f"The network of the knobs: {_accuracy(result)}")
        return "\n".join(lines)
    lines.append(_memory(result.chosen, result.board))
    lines.append(_speed(result.chosen, result.board))
    lines.append(_accuracy(result))
    lines.append(_advice(result))
    return "\n".join(lines)


def _memory(net: Deployment, board: Board) -> str:
    if net.fit is None:
        return f"{net.name}: whether it fits {board.title} is unknown."
    if net.fits:
        verdict = f"Fits {board.title}:" if net.complete else f"The known part fits {board.title}:"
        return f"{verdict} " + "; ".join(_budget(b) for b in net.fit.budgets) + " (counted)."
    over = [b for b in net.fit.budgets if not b.fits]
    wrong = " and ".join(
        f"{kib(b.over)} of {_name(b)} too much (needs {kib(b.need)}, has {kib(b.have)}; most is "
        f"taken by layer {b.peak_layer} with {kib(b.peak_bytes)})"
        for b in over
    )
    rest = "; ".join(_budget(b) for b in net.fit.budgets if b.fits)
    return f"Does NOT fit {board.title}: {wrong}{'; ' + rest if rest else ''} (counted)."


def _budget(budget: Budget) -> str:
    least = "at least " if budget.at_least else ""
    share = budget.need / budget.have
    part = f"{share:.0%}" if share >= 0.01 else "under 1 %"
    return (
        f"{_name(budget)} {least}{kib(budget.need)} of {kib(budget.have)} ({part}), "
        f"peak at layer {budget.peak_layer}"
    )


def _name(budget: Budget) -> str:
    return {"sram": "SRAM"}.get(budget.memory, budget.memory)


def _speed(net: Deployment, board: Board) -> str:
    if net.total_instructions is None or net.milliseconds is None:
        return "Instructions: unknown."
    middle, low, high = net.milliseconds
    least = "" if net.complete else "at least "
    return (
        f"One inference: {least}{short(net.total_instructions)} instructions (counted on an "
        f"emulated {board.core.title}), about {_time(middle)} at {board.mhz:g} MHz (modelled, "
        f"{_time(low)} to {_time(high)})."
    )


def _time(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.3g} s"
    return f"{milliseconds:.3g} ms"


def _accuracy(result: Outcome) -> str:
    net, about = result.net, result.table.about
    spread = ""
    if len(net.accuracies) > 1:
        spread = (
            f", mean of {len(net.accuracies)} seeds from {min(net.accuracies):.1%} to "
            f"{max(net.accuracies):.1%}"
        )
    text = (
        f"{net.label[0].upper()}{net.label[1:]}: test accuracy {net.accuracy:.1%} "
        f"(measured on {about['test_examples']} {about['data']} images{spread})"
    )
    whole = result.table.nets.get((net.width, 0.0, 32, ""))
    if whole is None or whole is net:
        return f"{text}."
    core = result.board.core.name
    ratio = whole.cores[core].flash_bytes / net.cores[core].flash_bytes
    points = 100 * (net.accuracy - whole.accuracy)
    change = (
        "as accurate as" if abs(points) < 0.05
        else f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than"
    )  # fmt: skip
    return (
        f"{text}: {change} the unpruned float network of this width, {ratio:.1f}× smaller in flash."
    )


def _advice(result: Outcome) -> str:
    fitting = sum(result.fits)
    count = len(result.nets)
    head = f"{fitting} of the {count} networks fit this board"
    ignored = (
        " Float weights are not quantized: the PTQ/QAT knob does nothing."
        if "method" in result.ignored
        else ""
    )
    if result.better is None:
        if not result.chosen.fits:
            return f"{head}.{ignored}"
        return f"{head}; none is smaller and as accurate as your choice.{ignored}"
    better = result.better
    flash = better.cores[result.board.core.name].flash_bytes
    return (
        f"{head}; {better.label} is better: {better.accuracy:.1%} with {kib(flash)} of flash."
        f"{ignored}"
    )
