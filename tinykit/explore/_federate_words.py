"""The readout of "Federate": what the figures show, in words and numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.explore._federate_figures import worst
from tinykit.explore._federate_table import ALGORITHMS, TITLES, Run, Where, reached

if TYPE_CHECKING:
    from tinykit.explore.federate import Federated

#: an algorithm's own number, as its paper writes it
_OWN = {"mu": "μ", "momentum": "β", "server_lr": "server step", "alpha": "α"}


def words(result: Federated, goal: float) -> str:
    """Lines of text: the setting, each algorithm, both, what the knobs change, how it was tuned."""
    lines = [_setting(result)]
    lines += [
        _algorithm(result, name, runs, goal)
        for name, runs in zip(result.algorithms, result.runs, strict=True)
    ]
    if len(result.algorithms) > 1:
        lines.append(_both(result))
    lines += [_devices(result), _refused(result), _knobs(result), _tuning(result)]
    return "\n".join(line for line in lines if line)


def skew_name(skew: float) -> str:
    return f"Dirichlet {skew:g}" if skew else "IID"


def _setting(result: Federated) -> str:
    about, where = result.table.about, result.where
    lost = f", {where.dropout:.0%} of them drop out" if where.dropout else ""
    if result.here:
        made = f"Simulated here just now, seed {result.runs[0][0].seed}"
    else:
        seeds = len(result.runs[0])
        made = "From a table made beforehand, " + (
            f"{seeds} seeds" if seeds > 1 else f"seed {result.runs[0][0].seed}"
        )
        made += "; nothing is trained now"
    return (
        f"{about['devices']} devices with {about['samples']} digits each ({skew_name(where.skew)}) "
        f"learn a {about['network']} network: {result.table.asked(where)} are asked a round{lost}, "
        f"each makes {about['local']['steps']} steps of {about['local']['batch']} images. {made}."
    )


def _algorithm(result: Federated, name: str, runs: tuple[Run, ...], goal: float) -> str:
    tests = result.table.tests
    final = np.array([run.right[-1] / tests for run in runs])
    spread = f", seeds {final.min():.1%} to {final.max():.1%}" if len(runs) > 1 else ""
    at = [reached(run, tests, goal) for run in runs]
    there = [n for n in at if n is not None]
    each = f" ({' / '.join(map(str, there))})" if len(there) > 1 else ""
    if len(there) == len(at):
        text = f"{goal:.0%} after {np.mean(there):.0f} rounds{each}, "
        text += _traffic(result, name, runs, at)
    elif there:
        many = f"{len(there)} of {len(at)} seeds reach{'es' if len(there) == 1 else ''}"
        text = f"{many} {goal:.0%}, after "
        text += f"{' / '.join(map(str, there))} rounds; in all {_traffic(result, name, runs, None)}"
    else:
        text = f"{goal:.0%} is not reached; in all {_traffic(result, name, runs, None)}"
    return (
        f"{TITLES[name]}: {text}; {final.mean():.1%} after {len(runs[0])} rounds (measured on "
        f"{tests} test images{spread})."
    )


def _traffic(
    result: Federated, name: str, runs: tuple[Run, ...], until: list[int | None] | None
) -> str:
    """Models sent until the rounds `until`, or in all, mean over runs."""
    down, up = result.table.models(name)
    asked = result.table.asked(result.where)
    ends = [len(run) for run in runs] if until is None else [n or 0 for n in until]
    went = down * asked * float(np.mean(ends))
    sent = [(run.answered + run.refused)[:end].sum() for run, end in zip(runs, ends, strict=True)]
    came = up * float(np.mean(sent))
    size = 4 * result.table.about["parameters"]
    total = size * (went + came) / 1e6
    each = "" if (down, up) == (1, 1) else f"; {down} a device down and {up} up"
    return f"{went:,.0f} models down and {came:,.0f} up, {total:.1f} MB (counted{each})"


def _both(result: Federated) -> str:
    first, second = (TITLES[name] for name in result.algorithms)
    tests = result.table.tests
    a, b = ([run.right[-1] / tests for run in runs] for runs in result.runs)
    gain = 100 * (float(np.mean(a)) - float(np.mean(b)))
    if abs(gain) < 0.05:
        text = f"{first} and {second} end at the same accuracy"
    else:
        text = f"{first} ends {abs(gain):.1f} points {'above' if gain > 0 else 'below'} {second}"
        if len(a) > 1:
            noise = 100 * max(np.ptp(a), np.ptp(b))
            within = "no more than" if abs(gain) <= noise else "more than"
            text += f", {within} the seeds of one differ ({noise:.1f})"
    drifts = [_drift(runs) for runs in result.runs]
    drift = f"{drifts[0]:.2f} and {drifts[1]:.2f}"
    return (
        f"{text}. Client drift, the spread of a round's models by the length of their updates: "
        f"{drift} (measured; mean over rounds with two replies or more)."
    )


def _drift(runs: tuple[Run, ...]) -> float:
    drift = np.concatenate([run.drift for run in runs])
    return float(np.nanmean(drift)) if not np.isnan(drift).all() else float("nan")


def _devices(result: Federated) -> str:
    parts = []
    for name, runs in zip(result.algorithms, result.runs, strict=True):
        of = result.devices(runs)
        parts.append(f"{TITLES[name]} {of.mean():.1%} (the worst-off tenth {worst(of):.1%})")
    return (
        f"On a device's own mix of classes: {', '.join(parts)}: the shared model's right answers "
        "by class (measured), weighted by what the device holds (counted)."
    )


def _refused(result: Federated) -> str:
    """How many replies the server's guard did not take."""
    parts = []
    for name, runs in zip(result.algorithms, result.runs, strict=True):
        refused = sum(int(run.refused.sum()) for run in runs)
        sent = refused + sum(int(run.answered.sum()) for run in runs)
        if refused:
            share = max(0.001, refused / sent)
            parts.append(f"{share:.1%} of the replies to {TITLES[name]}")
    if not parts:
        return ""
    return (
        f"The server's guard refused {' and '.join(parts)}: updates of more than ten times the "
        "usual size (counted)."
    )


def _knobs(result: Federated) -> str:
    """What the chosen algorithm would reach with one knob at its easiest position."""
    if result.here:
        return ""
    knobs, where, table = result.table.about["knobs"], result.where, result.table
    name, runs = result.algorithms[0], result.runs[0]
    seed = runs[0].seed if len(runs) == 1 else None
    now = np.mean([run.right[-1] for run in runs]) / table.tests
    changes: list[tuple[str, Where]] = [
        ("classes dealt evenly", replace(where, skew=0.0)),
        (
            f"all {table.about['devices']} devices asked",
            replace(where, participation=max(knobs["participation"])),
        ),
        ("nobody dropping out", replace(where, dropout=0.0)),
    ]
    parts = []
    for what, other in changes:
        if other != where:
            then = np.mean([run.right[-1] for run in table.of(name, other, seed)]) / table.tests
            parts.append(f"{what} {then:.1%} ({100 * (then - now):+.1f} points)")
    if not parts:
        return f"This is the easiest setting of the knobs for {TITLES[name]}."
    return f"{TITLES[name]} with one knob eased, after as many rounds: " + "; ".join(parts) + "."


def _tuning(result: Federated) -> str:
    about = result.table.about
    on = about["tuned_on"]
    settings = "; ".join(_settings(name, about["settings"][name]) for name in result.algorithms)
    return (
        f"Step sizes: {settings}. Tuned alike for all algorithms, on validation images with "
        f"{skew_name(on['skew'])}, {on['participation']:.0%} asked and no dropouts; the same for "
        "all positions of the knobs."
    )


def _settings(name: str, settings: dict[str, Any]) -> str:
    own = [f"{_OWN[key]} {value:g}" for key, value in settings.items() if key != "lr"]
    return ", ".join([f"{TITLES[name]} {settings['lr']:g} on the device", *own])


def python(result: Federated) -> str:
    """Lines that run the first algorithm's first run again."""
    about, where, name = result.table.about, result.where, result.algorithms[0]
    settings = dict(about["settings"][name])
    lr = settings.pop("lr")
    own = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    seed = result.runs[0][0].seed
    hidden = about["network"].split("-")[1]
    how = f"Dirichlet({where.skew!r})" if where.skew else "IID()"
    faults = f"    faults=Faults(dropout={where.dropout!r}),\n" if where.dropout else ""
    return (
        "import tinykit as tk\n"
        "from tinykit.data.partitions import IID, Dirichlet, partition\n"
        f"from tinykit.federated import {ALGORITHMS[name]}, Faults, Local, Simulation\n\n"
        'digits = tk.data.load("digits")\n'
        f"devices = partition(digits, {how}, devices={about['devices']}, "
        f"samples={about['samples']}, seed={seed})\n"
        "simulation = Simulation(\n"
        f"    tk.zoo.mlp(digits.spec, hidden=({hidden},), seed={seed}),\n"
        f"    devices,\n"
        f"    {ALGORITHMS[name]}({own}),\n"
        f"    local=Local(steps={about['local']['steps']}, batch={about['local']['batch']}, "
        f"lr={lr!r}),\n"
        f"    cohort={result.table.asked(where)},\n"
        f"    seed={seed},\n"
        f"    test=digits.test,\n{faults}"
        ")\n"
        f"history = simulation.run({about['rounds']})"
    )
