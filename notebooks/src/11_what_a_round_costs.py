# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Say what a federated round costs in seconds and joules, phase by phase and device by device, and choose local epochs, cohort and cut-off by it
#     minutes: 45
#     prerequisites:
#       - federated averaging (the lessons on federated learning before this one)
#       - power times time is energy
#       - no hardware
#     teaches:
#       - "Mathur, Beutel, Porto Buarque de Gusmão, Fernandez-Marques, Topal, Qiu, Parcollet, Gao, Lane, On-device Federated Learning with Flower, 2021, arXiv:2104.03042"
#       - "McMahan, Moore, Ramage, Hampson, Agüera y Arcas, Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017, arXiv:1602.05629"
#       - "Yang et al., Characterizing Impacts of Heterogeneity in Federated Learning upon Large-Scale Smartphone Data, WWW 2021"
# ---

# %% [markdown]
# # What does a round cost?

# %% [markdown]
# Papers on federated learning count rounds. Mathur et al. (2021) put Flower on phones and Jetson boards and measured what a round takes
# there: minutes, and kilojoules from a battery.
#
# **One question: what does a round cost, and which setting makes learning cheap?**
#
# Fifty microcontrollers learn digits: 25 examples each, in unequal mixes of classes, ten devices a round. In all that follows accuracy and rounds are
# *measured*, by simulation; bytes and multiply-accumulates are *counted*; **seconds and joules are modelled**, from a catalogue that says where each number comes from.

# %%
from dataclasses import replace

import numpy as np

import tinykit as tk
from tinykit import course, explore
from tinykit import federated as fl
from tinykit.data.partitions import Dirichlet, partition
from tinykit.explore.figure_view import FigureView
from tinykit.federated.system import catalogue, study

data = tk.data.load("digits")
model = tk.zoo.mlp(data.spec, hidden=(64,), seed=0)
macs = sum(p.numel() for p in model.parameters() if p.ndim == 2)  # each weight multiplies once
model_bytes = 4 * sum(p.numel() for p in model.parameters())
work = fl.Work.from_macs(macs)  # a training step multiplies three times as often as a forward pass
shares = {"stm32f446": 0.6, "esp32": 0.3, "nrf52840": 0.1}
fleet = fl.Fleet.mix(shares, 50, work, seed=0)

print(f"the network: {macs:,} MACs an example (forward), {model_bytes:,} bytes (counted)")
for kind, link in zip(fleet.classes, fleet.links, strict=True):
    print(f"{kind.title}, {link.title}")
    print(f"  an example: {1e3 * work.seconds_per_example(kind):.1f} ms; up {link.up_mbps}")
    print(f"  overhead {kind.overhead_s}; idle {kind.idle_w}; training {kind.compute_w}")

# %% [markdown] part="predict"
# ## Predict
#
# A device that trains for ten passes over its examples in place of one (*local epochs*, $E$) does ten times the work in a round.
# The devices learn until the shared model recognises 90 % of the test images. **What becomes of the energy of all devices together,
# from the first round to that?**

# %%
prediction = course.predict(
    "Energy until 90 %, with 10 local epochs, as a multiple of that with 1:",
    {
        "about 10 times: ten times the training": 10,
        "about 3 times: fewer rounds make up for some of it": 3,
        "about the same: the work has to be done sooner or later": 1,
        "about a third": 1 / 3,
    },
    unit="×",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Begin with Jetson boards on their GPUs, a *fleet* like that of the paper, and raise the local epochs: what happens to the time and the energy of *one* round?
# Then a fleet of unequal devices: who waits for whom? What does the cut-off give back, and what does it take?

# %%
prediction.gate(lambda: explore.load("round-cost").view(fleet="tx2-gpu"))

# %% [markdown] part="compare"
# ## Compare
#
# Three seeds, each with its own division of the examples.

# %%
seeds = (0, 1, 2)
devices = {
    seed: partition(data, Dirichlet(0.3), devices=50, samples=25, seed=seed) for seed in seeds
}


def learn(epochs, seed, **limits):
    """Rounds, seconds and joules until 90 %, and the simulation."""
    simulation = fl.Simulation(
        tk.zoo.mlp(data.spec, hidden=(64,), seed=seed),
        devices[seed],
        local=fl.Local(epochs=epochs, batch=10, lr=0.1),
        cohort=10,
        seed=seed,
        test=data.test,
        deployment=fl.Deployment(fleet, always_on=True, **limits),
    )
    history = simulation.run(200, until=0.9, progress=False)
    rounds = history.rounds_to(0.9)
    seconds = history.until(rounds, lambda r: r.seconds)
    joules = history.until(rounds, lambda r: r.joules)
    return rounds, seconds, joules


def mean(rows):
    return np.mean(list(rows), axis=0)


until = {epochs: [learn(epochs, seed) for seed in seeds] for epochs in (1, 3, 10, 30)}
energy = {epochs: mean(rows)[2] for epochs, rows in until.items()}
each = [ten[2] / one[2] for one, ten in zip(until[1], until[10], strict=True)]
prediction.compare(
    energy[10] / energy[1],
    f"The three seeds: {', '.join(f'{ratio:.2f}' for ratio in each)} times.",
)

# %% [markdown] part="explain"
# ## Explain: what a round is made of
#
# A device connects and unpacks (*overhead*), receives $B$ bytes, trains on its $n$ examples $E$ times at $s$ seconds each, sends $B$ bytes, and waits
# for the slowest of its cohort $P$:
#
# $$t_i = t_{\text{overhead}} + \frac{B}{\mathrm{down}} + \min(E\, n\, s,\ \tau) + \frac{B}{\mathrm{up}}, \qquad
# t_{\text{round}} = \max_{i \in P} t_i, \qquad
# J = \sum_{i \in P} \sum_{\text{phases}} W_{\text{phase}}\, t_{\text{phase}}.$$
#
# ($\tau$ is a cut-off, below.) One and the same cohort, with more and more local epochs:

# %%
cohort = np.arange(10)


def a_round(epochs, on=fleet, **limits):
    local = fl.Local(epochs=epochs, batch=10)
    return fl.Deployment(on, **limits).cost(cohort, devices[0], local, model_bytes, model_bytes)


rounds_of = {f"E = {epochs}": a_round(epochs) for epochs in until}
shown = FigureView()
shown.show({"phases": tk.plots.energy_by_phase(rounds_of)}, "Energy of one round by phase.", 1)
shown

# %%
print("one round     seconds   joules   not for training   until 90 %: rounds   seconds   joules")
for (name, cost), rows in zip(rounds_of.items(), until.values(), strict=True):
    aside = 1 - cost.joules["compute"].sum() / cost.total_joules
    number, seconds, joules = mean(rows)
    print(
        f"{name:10}{cost.round_seconds:11.2f}{cost.total_joules:9.2f}{aside:19.0%}"
        f"{number:21.1f}{seconds:10.1f}{joules:9.1f}"
    )
one = a_round(1)
esp = np.array(one.kinds) == "esp32"
share = one.device_joules[esp].sum() / one.total_joules
print(f"with E = 1, {esp.sum()} of 10 devices are ESP32s; they spend {share:.0%} of the energy")

# %% [markdown]
# **The surprise.** With one epoch a round most of the energy goes into things that are not training: devices connect and unpack, with their
# processors on, and send. Ten times the training costs far less than ten times the energy, and takes a fraction of the rounds. That does not go on
# forever: from 10 to 30 epochs the training triples, the rounds fall by less than half ([devices drift apart](09_client_drift.ipynb) meanwhile), and energy rises again. *The best number
# of local epochs follows from what a round costs beside training.*
#
# And which device costs most is not a question of who computes most. An ESP32 idles at ten times the power of the STM32; it pays for the
# overhead. But the catalogue says of that overhead that it is *assumed*. Would the answer be another if devices were ten times as quick about it?

# %%
book = catalogue()
quick = {
    name: replace(kind, overhead_s=replace(kind.overhead_s, value=kind.overhead_s.value / 10))
    for name, kind in book.devices.items()
}
lean = fl.Fleet.mix(shares, 50, work, seed=0, catalog=replace(book, devices=quick))
for name, on in {"as in the catalogue": fleet, "a tenth of the overhead": lean}.items():
    joules = {e: mean(until[e])[0] * a_round(e, on).total_joules for e in until}
    told = ", ".join(f"E = {e}: {of:.1f} J" for e, of in joules.items())
    print(f"{name}, this cohort times the rounds: {told}")

# %% [markdown]
# The gain shrinks and remains. A conclusion that rests on an assumed number has to be asked that.
#
# **How good is the model?** The paper's ten Jetson TX2 train a much larger network, on CIFAR-10, for a fixed number of rounds. Two unknowns for time and
# two for energy are fitted to 1 and 10 local epochs; 5 epochs are held out. (The paper's figures are quoted from memory.)

# %%
print("local epochs   accuracy   published: min      kJ   modelled: min      kJ       error")
for row in study.compare():
    run, held = row.run, "  held out" if row.held_out else ""
    print(
        f"{run.epochs:12} {run.accuracy:10.2f} {run.minutes:16.1f} {run.kilojoules:7.1f}"
        f" {row.minutes:15.1f} {row.kilojoules:7.1f}   {row.time_error:+.0%}, {row.energy_error:+.0%}"
        f"{held}"
    )
whole = study.compare(catalogue())[-1]
factor = whole.kilojoules / whole.run.kilojoules
print(f"with the catalogue's power of a whole board, 10 epochs take {factor:.1f} times the energy")
gpu, cpu = (study.replay(10, kind=f"jetson-tx2-{unit}") for unit in ("gpu", "cpu"))
tau = float(gpu.seconds["compute"][0])
slow, _ = study.slowdown()
cut, left = study.slowdown(tau)
print(f"CPU against GPU, 10 epochs: {slow:.2f} times as long (fitted);")
print(f"cut off after {tau:.0f} s: {cut:.2f} times as long, with {left:.0%} of the steps")

# %% [markdown]
# Time is off by a quarter at the epochs that the model has not seen, so take no decision from a modelled difference smaller than that. Energy fits, and the fitted
# power is far below what such a board draws as a whole, so it matters *what* a study counts. There, ten times the epochs took ten times the energy: with a large network
# training is nearly all of it, and the rounds were as many for all. Ours is the opposite end.
#
# **One slow device.** A thousand phones, nine in ten of them Pixel 4, the rest Nexus 6, nine times as slow. The network is
# the one whose training time Yang et al. (2021) measured on phones (17.2 million MACs, 26 MB), with 100 examples and five epochs.

# %%
phones = fl.Fleet.mix({"pixel-4": 0.9, "nexus-6": 0.1}, 1000, fl.Work.from_macs(17.2e6), seed=0)
leaf_bytes = 26_400_000
rng = np.random.default_rng(0)
print(
    "cohort   with a Nexus 6 in it: 1 − 0.9^k   drawn   mean round, s   a mean device is ready after, s"
)
for k in (1, 2, 5, 10, 20, 50):
    drawn = [
        phones.cost(rng.choice(1000, k, replace=False), 50, 10, leaf_bytes, leaf_bytes)
        for _ in range(200)
    ]
    slow = np.mean(["nexus-6" in cost.kinds for cost in drawn])
    longest = np.mean([cost.round_seconds for cost in drawn])
    ready = np.mean([cost.finish_s.mean() for cost in drawn])
    print(f"{k:6} {1 - 0.9**k:34.0%} {slow:7.0%} {longest:15.0f} {ready:34.0f}")

# %% [markdown]
# The mean device knows nothing of the cohort; the round does. Of ten devices one is likely to be a Nexus 6, of fifty nearly always, and all wait for it. McMahan et
# al. (2017) found diminishing returns from larger cohorts, in rounds; here each of these rounds takes longer, too.
#
# **A cut-off gives the time back.** After $\tau$ seconds of training a device stops and sends what it has: partial work is kept. Drawn is one cohort.

# %%
some = next(c for c in drawn if c.kinds[:10].count("nexus-6") == 1).devices[:10]
limits = {"no limit": {}, "cut-off 20 s": {"cutoff_s": 20.0}}
cuts = {
    name: phones.cost(some, 50, 10, leaf_bytes, leaf_bytes, **limit)
    for name, limit in limits.items()
}
shown = FigureView()
shown.show(
    {name: tk.plots.round_timeline(cost, title=name) for name, cost in cuts.items()},
    "; ".join(
        f"{name}: {c.round_seconds:.0f} s, {c.total_joules:.0f} J" for name, c in cuts.items()
    ),
    1,
)
shown

# %% [markdown]
# What does it take from accuracy? Back to the microcontrollers, with 30 local epochs, where the slow ones are nRF52840s. Beside the cut-off a *deadline*: the server
# closes the round and throws away what comes later.

# %%
print(
    "30 local epochs            steps done   one round, s   until 90 %: rounds   seconds   joules"
)
ways = {
    "no limit": {},
    "cut-off 1 s, work kept": {"cutoff_s": 1.0},
    "deadline 2 s, work lost": {"deadline_s": 2.0},
}
for name, limit in ways.items():
    rows = [learn(30, seed, **limit) for seed in seeds] if limit else until[30]
    number, seconds, joules = mean(rows)
    everybody = fl.Deployment(fleet, **limit).cost(
        range(50), devices[0], fl.Local(epochs=30, batch=10), model_bytes, model_bytes
    )
    kept = everybody.done[~everybody.dropped].sum() / everybody.asked.sum()
    print(
        f"{name:26} {kept:10.0%} {seconds / number:14.2f}{number:21.1f}{seconds:10.1f}{joules:9.1f}"
    )

# %% [markdown]
# Both bring the time back and cost hardly a round: few steps are missing, those of one device in ten. The
# difference between them is not in this table: a device that always comes too late is *never* heard. Had only nRF52840s seen a digit 7, with a deadline
# nobody would learn it.

# %% [markdown] part="exercise"
# ## Exercise: a round's bill
#
# Write the model. All arguments but two are arrays with a number for each device of the cohort: `overhead_s`; `train_s`, the seconds of training asked for; `mbps`, the link in Mbit/s, in
# both directions; `idle_w`, drawn whenever the device does not train; `radio_w`, drawn on top while data move; `compute_w`, the whole device
# while it trains. `cutoff_s` is τ, `model_bytes` what travels down, and up again. Return the seconds of the round and the joules of all. About five lines.
#
# For example one device with 1 s of overhead, 10 s of training cut off after 4 s, and 1,000,000 bytes at 8 Mbit/s: 1 + 1 + 4 + 1 = 7 s. At 0.1 W
# idle, 0.5 W radio and 2 W training that is 3 · 0.1 + 2 · 0.5 + 4 · 2 = 9.3 J.


# %% exercise="round_cost"
def round_cost(overhead_s, train_s, cutoff_s, model_bytes, mbps, idle_w, radio_w, compute_w):
    """arrays: float64 (devices,); cutoff_s, model_bytes: numbers; returns [seconds, joules]"""
    ### BEGIN SOLUTION
    transfer = 2 * 8 * model_bytes / (1e6 * mbps)
    train = np.minimum(train_s, cutoff_s)
    seconds = (overhead_s + transfer + train).max()
    joules = compute_w * train + idle_w * (seconds - train) + radio_w * transfer
    return np.array([seconds, joules.sum()])
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="round_cost" points=5
### BEGIN HIDDEN TESTS
course.check("round_cost", round_cost).require()
### END HIDDEN TESTS
course.check("round_cost", round_cost)

# %% [markdown]
# Your function answers a designer's question: what if the ESP32 slept as deeply as the STM32 whenever it does not train?


# %%
def of_cohort(number):
    """A number of the catalogue for each device of the cohort."""
    return np.array([getattr(fleet.classes[k], number).value for k in fleet.kind[cohort]])


links = [fleet.links[k] for k in fleet.kind[cohort]]
mbps = np.array([link.up_mbps.value for link in links])  # the same in both directions here
radio_w = np.array([(link.receive_w.value + link.send_w.value) / 2 for link in links])
idle_w = of_cohort("idle_w")

try:
    for epochs in (1, 10):
        kits = a_round(epochs)
        mine = [
            round_cost(
                of_cohort("overhead_s"), kits.seconds["compute"], np.inf, model_bytes, mbps, idle, radio_w,
                of_cohort("compute_w"),
            )
            for idle in (idle_w, np.minimum(idle_w, 0.01))
        ]  # fmt: skip
        print(
            f"E = {epochs}: yours {mine[0][0]:.3f} s, {mine[0][1]:.3f} J; the kit's "
            f"{kits.round_seconds:.3f} s, {kits.total_joules:.3f} J; if all slept at 0.01 W or "
            f"less: {mine[1][1]:.3f} J"
        )
except NotImplementedError:
    print("The bill has to be written first.")

# %% [markdown] part="further"
# ## Going further
#
# - Let the cohort grow to 25 devices in `learn`. Rounds until 90 %? Joules?
# - `fl.Deployment(fleet)` without `always_on=True` asks only devices that are on line; `docs/devices.md` lists how often, and where every number comes from.
# - Which phase does a smaller message shorten, and for which device class of the catalogue does it matter most? `fl.Fleet(["nrf52840"], work)` and a hundred times
#   the bytes.
# - Add a device of your own to the catalogue: a table in `tinykit/federated/system/devices.toml`, each number with its origin.
# - In [One model or many](10_one_model_or_many.ipynb) rounds are spent on models that each device customises.
