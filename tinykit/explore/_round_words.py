"""The readout of "What a round costs": what the figures show, in words and numbers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tinykit.explore._round_fleets import BATCH, STEPS
from tinykit.federated.system import PHASES, TRAINING_FACTOR, catalogue, study
from tinykit.plots.style import kib, short

if TYPE_CHECKING:
    from tinykit.explore.round_cost import Costed

_LINK = {"wifi": "Wi-Fi", "lte": "LTE", "ethernet": "Ethernet"}


def words(result: Costed) -> str:
    """Lines of text: the setting, the slowest, energy, accuracy, memory, how far it may be off."""
    lines = [_setting(result), _slowest(result), _energy(result)]
    if result.cutoff:
        lines.append(_cut(result))
    lines += [_accuracy(result), _memory(result), _links(result), _error(result)]
    return "\n".join(line for line in lines if line)


def title_of(kind: str) -> str:
    return catalogue().devices[kind].title


def seconds(count: float) -> str:
    """A time for people: 0.0123 s, 12.3 s, 4.5 min, 2.1 h."""
    if count < 120:
        return f"{count:.3g} s"
    return f"{count / 60:.3g} min" if count < 7200 else f"{count / 3600:.3g} h"


def joules(count: float) -> str:
    number, _, prefix = short(count).partition(" ")
    return f"{number} {prefix}J"


def _setting(result: Costed) -> str:
    net = result.network
    return (
        f"{result.cohort} devices ({result.mix.title}) each go {result.epochs} times through "
        f"{STEPS * BATCH} examples in batches of {BATCH} and train {net.title}: {short(net.macs)} "
        f"MACs an example forwards (counted), {TRAINING_FACTOR:g} times that with the way back "
        f"(modelled); {kib(net.model_bytes)} travel down and again up (counted)."
    ).replace("go 1 times", "go once")


def _slowest(result: Costed) -> str:
    cost = result.cost
    finish = cost.finish_s
    last = int(finish.argmax())
    wait = cost.seconds["wait"]
    took = {p: float(cost.seconds[p][last]) for p in PHASES[:-1]}
    most = max(took, key=lambda p: took[p])
    text = (
        f"The round takes {seconds(cost.round_seconds)} (modelled), as long as its slowest device "
        f"({title_of(cost.kinds[last])}), which spends most of it on {most} "
        f"({seconds(took[most])}). "
    )
    if wait.max() < 0.005 * cost.round_seconds:
        if result.mix.alike:
            return text + "All others are ready at the same time: nobody waits."
        return text + "All others are ready at about the same time: hardly anybody waits."
    return text + (
        f"The first is ready after {seconds(float(finish.min()))}; on average a device waits "
        f"{seconds(float(wait.mean()))}, {wait.mean() / cost.round_seconds:.0%} of the round."
    )


def _energy(result: Costed) -> str:
    cost = result.cost
    parts = {p: float(cost.joules[p].sum()) for p in PHASES}
    total = cost.total_joules
    order = sorted(parts, key=lambda p: -parts[p])
    shares = ", ".join(f"{p} {parts[p] / total:.0%}" for p in order if parts[p] >= 0.005 * total)
    each = total / result.cohort
    return f"All devices take {joules(total)}, {joules(each)} each on average: {shares} (modelled)."


def _cut(result: Costed) -> str:
    cost, whole = result.cost, result.costs[result.epochs, 0]
    if (cost.done == cost.asked).all():
        return "All devices get their steps done before the cut-off: it changes nothing."
    done = cost.done.sum() / cost.asked.sum()
    empty = int((cost.done == 0).sum())
    nothing = f"; {empty} of {result.cohort} get no step done and send nothing" if empty else ""
    faster = whole.round_seconds / cost.round_seconds
    then = f"The cut-off after {seconds(cost.cutoff_s or 0)} of training "
    if faster < 1.005:  # the slowest spends its time on other things, or is hardly cut
        return f"{then}hardly shortens the round, and leaves {done:.0%} of the work{nothing}."
    return f"{then}makes the round {faster:.3g}× as fast for {done:.0%} of the work{nothing}."


def _accuracy(result: Costed) -> str:
    about = result.table.about
    now = result.accuracies[result.epochs, result.cutoff]
    own = result.network.name == "mlp"
    size = about["network"]
    text = (
        f"What that buys: {np.mean(now):.1%} accuracy (measured, {_range(now)})"
        f"{'' if own else f' of an MLP {size} on digits'} after {about['rounds']} rounds of "
        "FedAvg, where devices of the same mix do the same share of their steps"
        f"{'' if own else f'; not of {result.network.title}'}"
    )
    if result.cutoff:
        before = float(np.mean(result.accuracies[result.epochs, 0]))
        text += f". Without a cut-off: {before:.1%}"
    return text + (
        f" (Dirichlet {about['skew']:g}, {about['samples']} images on each of {about['devices']} "
        "devices)."
    )


def _range(values: tuple[float, ...]) -> str:
    if len(values) == 1:
        return "1 seed"
    return f"{len(values)} seeds from {min(values):.1%} to {max(values):.1%}"


def _memory(result: Costed) -> str:
    if not result.too_small:
        return ""
    return (
        f"Does not fit: training takes at least {kib(result.network.training_bytes)} (parameters, "
        f"gradients and the activations of one example, counted), more than "
        f"{' and '.join(result.too_small)} have. What is shown for them could not be run."
    )


def _links(result: Costed) -> str:
    if result.link == "usual":
        return ""
    without = [title_of(n) for n in result.mix.shares if n not in result.links]
    if not without:
        return ""
    return f"No {_LINK[result.link]}: {', '.join(without)}; they stay on their usual link."


def _error(result: Costed) -> str:
    """How far the model was off where somebody measured, and what nobody measured."""
    time, low, high = _known()
    guessed = [d.title for d in result.fleet.classes if "training_macs_per_s" in d.assumed]
    names = " and ".join(guessed)
    assumed = f" Nobody measured how fast {names} train: assumed." if guessed else ""
    return (
        f"How far off: fitted to two runs of the Flower study on Jetson TX2s, the model's time of "
        f"the third is {time:+.0%} off; with the powers of this catalogue its energy is {low:.0f} "
        f"to {high:.0f} times what the study counted.{assumed} Compare settings rather than trust "
        "seconds and joules."
    )


@cache
def _known() -> tuple[float, float, float]:
    """The held-out run's error of time; the least and most that energy is too high."""
    time = next(c.time_error for c in study.compare() if c.held_out)
    energy = [1 + c.energy_error for c in study.compare(catalogue())]
    return time, min(energy), max(energy)
