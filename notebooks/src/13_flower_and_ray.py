# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Run one client function on three engines, say what each of them costs and when another machine pays, and write a client function that is pure enough for all of them
#     minutes: 45
#     prerequisites:
#       - federated averaging (the lessons on federated learning before this one)
#       - PyTorch; what a process is
#       - no hardware; Flower and Ray need not be installed
#     teaches:
#       - "Beutel et al., Flower: A Friendly Federated Learning Research Framework, 2020, arXiv:2007.14390"
#       - "Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, OSDI 2018, arXiv:1712.05889"
#       - "torch.func: composable function transforms of PyTorch (vmap, grad), after JAX"
# ---

# %% [markdown]
# # On Flower and Ray

# %% [markdown]
# A thousand simulated devices on a laptop: who runs them? In tinykit an *engine* does, and there are three. The
# **sequential** one runs devices one after another. The **vectorised** one runs them all at once, as one computation. The third is **Flower**
# (Beutel et al., 2020), a framework for federated learning, on **Ray** (Moritz et al., 2018), which starts processes on this machine or on many.
#
# **One question: when is one process not enough?**
#
# What a device does is a *client function*, what the server does a *strategy*. Neither says on which engine it runs:

# %%
import os
import time
from dataclasses import dataclass
from importlib.util import find_spec

import torch

import tinykit as tk
from tinykit import course
from tinykit import federated as fl
from tinykit.course.engines import EnginesTable
from tinykit.data.partitions import IID, partition
from tinykit.explore.sweep import engines as sweep

torch.set_num_threads(1)  # products this small are not worth a second thread
data = tk.data.load("digits")
devices = partition(data, IID(), devices=100, samples=12, seed=0)
local = fl.Local(steps=20, batch=10, lr=0.1)


@dataclass(frozen=True, kw_only=True)
class Spring(fl.Strategy):
    """FedProx: a device is pulled back to the model that it was sent (Li et al., MLSys 2020)."""

    mu: float = 0.1

    def client(self, device):
        return fl.Reply(device.sgd(lambda w, gradient: gradient + self.mu * (w - device.start)))


def simulate(engine, strategy=None, model=None):
    return fl.Simulation(
        model or tk.zoo.mlp(data.spec, hidden=(64,), seed=0),
        devices,
        strategy or Spring(),
        local=local,
        cohort=1.0,
        seed=0,
        engine=engine,
        test=data.test,
    )


for engine in ("sequential", "vectorised"):  # "flower" stands here, too, where it is installed
    run = simulate(engine)
    history = run.run(2, progress=False)
    print(
        f"{engine:11} accuracy after 2 rounds {history[-1].accuracy:.1%}, weights {sweep.sha256(run)[:12]}…"
    )

# %% [markdown] part="predict"
# ## Predict
#
# 100 devices take part in each of 10 rounds; each trains this MLP for 20 steps. The machine has two cores. Flower on Ray keeps
# both busy, with a process for each. The vectorised engine is one process. **How long does Flower take, from a cold start, against the vectorised
# engine?**

# %%
prediction = course.predict(
    "Flower and Ray take",
    {
        "half as long: two processes": 0.5,
        "as long": 1,
        "three times as long": 3,
        "twenty times as long, or more": 30,
    },
    unit="×",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# First and later rounds of all three were measured (the table ships with the script that made it). Both axes are logarithmic: where a line is flat, it is
# still starting. At how many rounds do lines meet, if at all? Then let a device compute more, and give Flower the
# cores of a cluster: that is modelled, not measured.

# %%
prediction.gate(lambda: course.EnginesExplorer().view())

# %% [markdown] part="compare"
# ## Compare

# %%
table = EnginesTable()


def total(engine, rounds, work="mlp"):
    return table.first(work, engine) + (rounds - 1) * table.round(work, engine)


prediction.compare(
    total("flower", 10) / total("vectorised", 10),
    f"{total('flower', 10):.1f} s against {total('vectorised', 10):.1f} s; the sequential engine takes {total('sequential', 10):.1f} s.",
)

# %% [markdown] part="explain"
# ## Explain
#
# Measured: seconds of the first round, in a fresh process, and of a later one.

# %%
machine, made_by = table.about["machine"], table.about["versions"]
print(
    f"{machine['cores']} cores ({machine['processor']}; other work ran beside it, load {machine['load']:.0f}), torch {made_by['torch']}, "
    f"Flower {made_by['flwr']}, Ray {made_by['ray']}; the least of several tries\n"
)
print(f"{'a device computes':36} {'engine':11} first round   a later one    devices/s")
for work, words in (
    ("nothing", "nothing: returns what it was sent"),
    ("mlp", "20 steps of an MLP, 8 × 8 pixels"),
    ("lenet", "20 steps of LeNet, 24 × 24 pixels"),
):
    for engine in sweep.ENGINES:
        print(
            f"{words:36} {engine:11} {table.first(work, engine):9.2f} s {table.round(work, engine):11.3f} s {table.rate(work, engine):11,.0f}"
        )

# %% [markdown]
# **Why all at once is faster.** PyTorch takes some microseconds to start each operation, and for an MLP this small that is longer than the
# arithmetic. `torch.func.vmap` takes the client function, written for one device, and makes of it one function of all devices: a matrix-vector product becomes *one* batched product
# with a hundred matrices, started once. So the price is paid once for all devices, and what is left is arithmetic. Here, now:

# %%
rates = {}
for engine in ("sequential", "vectorised"):
    run = simulate(engine)
    run.run(1, progress=False)
    took = []
    for _ in range(2):
        begun = time.perf_counter()
        run.run(run.done + 1, progress=False)
        took.append(time.perf_counter() - begun)
    rates[engine] = len(devices) / min(took)
    print(f"MLP, 100 devices, {engine:11} {rates[engine]:7,.0f} devices/s (measured)")
print(
    f"vectorised: {rates['vectorised'] / rates['sequential']:.1f} times faster; LeNet, from the table: "
    f"{table.rate('lenet', 'vectorised') / table.rate('lenet', 'sequential'):.2f} times"
)

# %% [markdown]
# With LeNet there is little or nothing to gain on a CPU: the arithmetic takes the time, and a convolution with other filters for every device is no
# faster than a hundred convolutions. (The sequential engine then runs devices on all cores, each on one thread.) That is why the kit chooses by
# model and cohort:

# %%
for name, model, cohort in (
    ("MLP", tk.zoo.mlp(data.spec, hidden=(64,)), 100),
    ("MLP", tk.zoo.mlp(data.spec, hidden=(64,)), 2),
    ("LeNet", tk.zoo.lenet(data.spec), 100),
):
    chosen = fl.Simulation(model, devices, cohort=cohort, device="cpu").engine.name
    print(f"{name}, {cohort} devices a round: {chosen}")

# %% [markdown]
# **What Flower's rounds are made of.** In a round in which devices compute nothing, all that is left is the way there and back: the server packs the
# model into a message for each device, Ray hands it to a process, and the reply comes back; 19 kB each way for this MLP. Per device:

# %%
message = table.round("nothing", "flower") / table.devices
started = table.first("mlp", "flower") - table.round("mlp", "flower")
print(f"start-up: {started:.1f} s, of which no device sees anything")
print(
    f"a device that computes nothing: {1000 * message:.1f} ms on Flower, "
    f"{1000 * table.round('nothing', 'vectorised') / table.devices:.2f} ms vectorised"
)
for work, name in (("mlp", "MLP"), ("lenet", "LeNet")):
    t = table.compute(work)
    print(
        f"a device that trains the {name} computes for {1000 * t:.0f} ms on one core; a round of Flower "
        f"on {table.cores} would take {table.modelled(t, table.cores):.2f} s (modelled), "
        f"took {table.round(work, 'flower'):.2f} s (measured): the model is "
        f"{table.modelled(t, table.cores) / table.round(work, 'flower') - 1:+.0%} off"
    )

# %% [markdown]
# **When does it pay?** Let a device compute for $t$ seconds, and a message take $h$ on its way through the server. One process on one core needs $nt$ for a round of $n$
# devices; Flower on $W$ cores about $nh + nt/W$. So
#
# $$\text{speed-up} = \frac{nt}{nh + nt/W} = \frac{1}{h/t + 1/W} \;<\; \frac{t}{h}.$$
#
# More cores help until $W \approx t/h$, and a device has to compute for much longer than a message takes. On *one* machine there is little to win over
# a process that uses all cores anyway:

# %%
print("speed-up against one core:      " + "".join(f"{w:>9} cores" for w in (2, 16, 128, 1024)))
for words, t in (
    ("MLP", table.compute("mlp")),
    ("LeNet", table.compute("lenet")),
    ("a device that computes for 1 s", 1.0),
    ("for a minute", 60.0),
):
    print(
        f"{words:32}" + "".join(f"{1 / (message / t + 1 / w):13.1f}×" for w in (2, 16, 128, 1024))
    )
print(
    "(modelled from the measured h, for more devices than cores; nothing waits, and no network is slow)"
)

# %% [markdown]
# **The same bits.** Engines differ in speed, not in what they compute. Sequential and Flower end in the same weights to the last bit: minibatches are drawn by (seed, round, device), never by who comes first;
# each device computes on one thread; replies are added up in the order of devices. The hash of all weights says so. The vectorised engine multiplies other matrices,
# and may round differently.

# %%
for work in ("mlp", "lenet"):
    print(work, "(recorded)")
    for engine in sweep.ENGINES:
        print(f"  {engine:11} SHA-256 of the weights {table.row(work, engine)['sha256'][0][:24]}…")
one, two = (sweep.simulation("lenet", fl.Sequential(workers=w)) for w in (1, 2))
for run in (one, two):
    run.run(1, progress=False)
print("here, LeNet, one worker and two: same bits", torch.equal(one.weights(), two.weights()))
one, two = (sweep.simulation("mlp", engine) for engine in ("sequential", "vectorised"))
for run in (one, two):
    run.run(1, progress=False)
print(
    f"here, MLP, sequential and vectorised: differ by at most {float((one.weights() - two.weights()).abs().max()):.1e}"
)

# %% [markdown]
# Flower itself, on this machine: set `RUN_FLOWER = True`. It takes about as long as the table says, and needs `pip install 'tinyml-kit[flower]'`.

# %%
RUN_FLOWER = False

installed = all(find_spec(package) is not None for package in ("flwr", "ray"))
if RUN_FLOWER and installed:
    found = sweep.measure(sweep.simulation("mlp", "flower"))
    print(
        f"{os.cpu_count()} cores: first round {found['first']:.1f} s, a later one {found['round']:.2f} s"
    )
    print(
        "the recorded bits:",
        found["sha256"] in table.row("mlp", "flower")["sha256"],
        "(another processor or version of torch may round differently)",
    )
else:
    print(
        "Not run: "
        + ("RUN_FLOWER is False." if installed else "Flower and Ray are not installed.")
        + f" Recorded: first round {table.first('mlp', 'flower'):.1f} s, a later one {table.round('mlp', 'flower'):.2f} s."
    )

# %% [markdown]
# **When to go to Flower.** A simulation asks what *would* happen. Where devices are real, where updates travel by gRPC over networks that fail, where a run goes on for days
# on many machines, a framework made for that is needed. Flower is a well-kept one: the server's side and each device's side run as processes of their own, on different machines, with encrypted
# connections and commands to deploy apps. The kit's engine uses its simulation only. What you take along is the client function: it
# becomes the body of a `ClientApp`. And a Ray cluster of your own is one argument away: `fl.Flower(address="auto")` on a machine that `ray start` has joined
# to it.

# %% [markdown] part="exercise"
# ## Exercise: a client function that every engine can run
#
# It has to be *pure*: what it returns depends on its `device` and nothing else, and it changes nothing. No global, because devices may be in other processes. No `if` on a tensor's
# value, because under `vmap` that tensor stands for all devices at once, and the answer is yes for some and no for others. No random numbers of its own.
#
# Write one with a memory (made up for this exercise). The strategy declares `memory = ("velocity",)`; the device finds its old velocity in
# `device.memory["velocity"]`, zeros at first. Train with `device.sgd()`, and let
# $v = 0.5 \cdot \text{velocity} + \text{update}$, where the update is what training changed. Where $v$ is longer than 0.75, shorten it to that norm. Return
# `fl.Reply(model, memory)`: the model is `device.start` $+\, v$, the memory `{"velocity": v}`. `torch.linalg.vector_norm`, `torch.where` and `.clamp` are useful.


# %% exercise="remembering_client"
def remembering_client(device):
    """device: a Device with memory "velocity" (P,); returns a Reply"""
    ### BEGIN SOLUTION
    update = device.sgd() - device.start
    v = 0.5 * device.memory["velocity"] + update
    v = v * (0.75 / torch.linalg.vector_norm(v).clamp(min=0.75))
    return fl.Reply(device.start + v, {"velocity": v})
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself
#
# The check plays your function twice on the sequential engine and once on the vectorised one, with the same seed.

# %% check="remembering_client" points=6
### BEGIN HIDDEN TESTS
course.check("remembering_client", remembering_client).require()
### END HIDDEN TESTS
course.check("remembering_client", remembering_client)

# %% [markdown]
# As a strategy of its own:


# %%
@dataclass(frozen=True, kw_only=True)
class Remembering(fl.Strategy):
    memory = ("velocity",)

    def client(self, device):
        return remembering_client(device)


try:
    for engine in ("sequential", "vectorised"):
        begun = time.perf_counter()
        history = simulate(engine, Remembering()).run(5, progress=False)
        print(
            f"{engine:11} {time.perf_counter() - begun:5.1f} s, accuracy {history[-1].accuracy:.1%}"
        )
except fl.ClientError as error:
    print(f"Not yet: {error}")

# %% [markdown] part="further"
# ## Going further
#
# - `simulate("flower", Remembering())` runs your function in Ray's processes, with the same bits as `"sequential"`. Try a global in it: what does each
#   process see?
# - FedNova changes the server's half instead: `docs/federated.md` writes it in five lines. On which engines does it run, and why need nobody ask?
# - On a GPU the vectorised engine gains with convolutions, too. Why?
# - `python -m tinykit.explore.sweep engines` measures the table again, on your machine.
# - [What an update has to say, and to hide](12_privacy_and_compression.ipynb).
