# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Count what an update costs to send and send less of it, say what error feedback repairs and what not, and tell what a mask hides from what noise hides and why many devices pay less for it
#     minutes: 50
#     prerequisites:
#       - federated averaging (the lessons on federated learning before this one)
#       - numpy; what a standard deviation is
#       - no hardware
#     teaches:
#       - "McMahan, Ramage, Talwar, Zhang, Learning Differentially Private Recurrent Language Models, ICLR 2018, arXiv:1710.06963"
#       - "Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017"
#       - "Karimireddy, Rebjock, Stich, Jaggi, Error Feedback Fixes SignSGD and other Gradient Compression Schemes, ICML 2019, arXiv:1901.09847"
#       - "Alistarh et al., QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding, NeurIPS 2017, arXiv:1610.02132"
# ---

# %% [markdown]
# # Privacy and compression

# %% [markdown]
# In federated learning examples stay where they are, and an *update* travels: what the device's model has that the
# server's had not. It is as large as the model, every round, from every device. And it is made of the examples: from an
# update alone people have reconstructed images (Zhu, Liu, Han, *Deep Leakage from Gradients*, NeurIPS 2019).
#
# **One question: what can be left out of an update, and what must be hidden in it?**
#
# One update, to look at: an MLP with 64 hidden units, trained for 20 steps on one device that holds a few digits.

# %%
import math

import numpy as np
import torch

import tinykit as tk
from tinykit import course
from tinykit import federated as fl
from tinykit.course.uplink import WHOLE, UplinkTable, called
from tinykit.data.federation import Federation
from tinykit.data.partitions import Dirichlet, partition
from tinykit.explore.figure_view import FigureView

data = tk.data.load("digits")
devices = partition(data, Dirichlet(0.1), devices=50, samples=25, seed=0)
model = tk.zoo.mlp(data.spec, hidden=(64,), seed=0)
local = fl.Local(steps=20, batch=10, lr=0.1)


def update_of(number):
    """What this device would send in the first round, float64 (P,)."""
    alone = Federation(f"device {number}", data.spec, data.train, (devices.train[number],))
    one = fl.Simulation(model, alone, local=local, seed=number)
    start = one.weights()
    one.run(1, progress=False)
    return (one.weights() - start).double().numpy()


updates = np.stack([update_of(number) for number in range(10)])
update = updates[0]
size = np.abs(update)
largest = np.sort(size)[::-1]
print(f"{update.size:,} numbers, {4 * update.size:,} bytes as float32")
print(
    f"norm {np.linalg.norm(update):.2f}; the largest 5 % of the entries carry "
    f"{(largest[: update.size // 20] ** 2).sum() / (size**2).sum():.0%} of its square"
)
print(f"entries that are exactly 0: {np.mean(update == 0):.0%} (pixels that are never on)")

# %% [markdown] part="predict"
# ## Predict
#
# *Differential privacy* hides a device: its update is shortened where it is long, and the server adds noise, so that the model hardly tells
# whether that device took part. How much it may tell is a number, ε; smaller is better hidden.
#
# With 100 devices, ε = 2 after 40 rounds costs accuracy: nearly 20 points. Now there are 1,000 devices. They have no more to learn from (the same
# digits, handed out again), and ε stays 2. **What does ε = 2 cost 1,000 devices?**

# %%
prediction = course.predict(
    "ε = 2 with ten times the devices costs:",
    {
        "more: there are ten times as many to hide": 40,
        "the same: ε is the same": 20,
        "about half": 10,
        "next to nothing": 1,
    },
    unit="points",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Measured beforehand (the table ships with the script that made it). Left: send less. Go from 32 bits down to signs, then
# send only the largest entries; where does *error feedback* matter, and does it still when only one device in ten is asked? Right: noise.
# Turn the number of devices.

# %%
prediction.gate(lambda: course.UplinkExplorer().view(bits=4))

# %% [markdown] part="compare"
# ## Compare

# %%
table = UplinkTable()
few, many = table.populations()[0], table.populations()[-1]
prediction.compare(
    table.cost(many, 2.0),
    f"With {few} devices it is {table.cost(few, 2.0):.3g} points (means of "
    f"{len(table.about['seeds'])} seeds).",
)

# %% [markdown] part="explain"
# ## Explain, 1: what can be left out
#
# **Bits.** With $b$ bits an entry becomes one of $2^b - 1$ levels between $-s$ and $s$, the largest magnitude (QSGD, Alistarh et al.,
# 2017). Rounded up or down *by lot*, it is right on average: the errors of many devices and many rounds cancel. That is why an update bears far fewer bits than
# a weight, which is rounded once and stays wrong.
#
# **Entries.** The $k$ largest, each with its position. **Both**: `TopK(0.05) + KBit(4)`. A message by hand: 5 % of 4,810
# numbers are 240 values of 4 bits, 240 positions of 13 bits ($2^{13} > 4810$), and one scale of 32 bits.

# %%
P, sizes = update.size, [p.numel() for p in model.parameters()]
k = round(0.05 * P)
by_hand = math.ceil(4 * k / 8) + math.ceil(13 * k / 8) + 4
both = fl.TopK(0.05) + fl.KBit(4)
message = both.encode(torch.from_numpy(update).float(), sizes, np.random.default_rng(0))
print(
    f"by hand {by_hand} bytes, the kit's message {len(message)}: {4 * P / len(message):.0f} times less\n"
)

methods = {
    "8 bits": fl.KBit(8),
    "4 bits": fl.KBit(4),
    "2 bits": fl.KBit(2),
    "signs": fl.Sign(),
    "top 5 %": fl.TopK(0.05),
    "top 5 % in 4 bits": both,
}
x = torch.from_numpy(updates).float()
print("squared error, as a share of the square   of one update   of the mean of ten")
for name, compression in methods.items():
    y = compression(x, sizes, [np.random.default_rng(n) for n in range(len(x))]).double().numpy()
    one = ((y - updates) ** 2).sum() / (updates**2).sum()
    mean = ((y.mean(0) - updates.mean(0)) ** 2).sum() / (updates.mean(0) ** 2).sum()
    print(f"{name:41} {one:13.1%} {mean:20.1%}")

# %% [markdown]
# With 2 bits the error is *larger than the update*, several times over, and yet these bits are enough, as you will see: in the mean of ten it
# is much smaller, and rounds follow one another. Errors of signs and of the largest entries do not cancel: nothing about them is left to
# chance.
#
# **Error feedback** (Seide et al., 2014; Karimireddy et al., 2019): what a message lacks is kept on the device and added to its next
# update. Nothing is lost, some of it is late. On a device that means the same thing ten times, with 5 % of the entries:

# %%
meant, said, forgetful, residual = 0.0, 0.0, 0.0, torch.zeros(1, P)
top = fl.TopK(0.05)
for step in range(1, 11):
    meant = meant + x[:1]
    told = top(x[:1] + residual, sizes, [np.random.default_rng(0)])
    residual = x[:1] + residual - told
    said, forgetful = said + told, forgetful + top(x[:1], sizes, [np.random.default_rng(0)])
    if step in (1, 2, 5, 10):
        lacks = [float(((meant - s) ** 2).sum() / (meant**2).sum()) for s in (said, forgetful)]
        print(
            f"after {step:2} messages: {lacks[0]:.0%} of the square is missing, "
            f"{lacks[1]:.0%} without error feedback"
        )

# %% [markdown]
# In training a device does not mean the same thing ten times. What it could not say was about the model of *then*, and with one
# device in ten asked, *then* is ten rounds ago. All methods, from the table (mean of the seeds, in brackets the worst and the best):

# %%
print(f"{'':38}{'one in ten asked, 40 rounds':>34}{'all asked, 20 rounds':>28}")
print(f"{'':38}{'bytes less':>12}{'accuracy':>22}{'accuracy':>28}")
for one in table.methods():
    cells = []
    for asked in (0.1, 1.0):
        found = sorted(table.accuracies(one, asked))
        cells.append(f"{np.mean(found):.1%} ({found[0]:.1%} to {found[-1]:.1%})")
    print(
        f"{called(one):38}{table.bytes_each(WHOLE) / table.bytes_each(one):11.1f}×{cells[0]:>25}{cells[1]:>28}"
    )

print("\nwhat error feedback gains, in points:   one in ten asked   all asked")
for bits, kept, _ in [one for one in table.methods() if one[2]]:
    gains = [
        100 * np.mean(np.subtract(*(table.accuracies((bits, kept, f), a) for f in (True, False))))
        for a in (0.1, 1.0)
    ]
    print(f"{called((bits, kept, True)):35}{gains[0]:21.1f}{gains[1]:12.1f}")

# %% [markdown]
# Do not take error feedback for a rule. It repairs a method that is wrong *on average* (signs above all), for devices that are asked
# often. Where residuals are ten rounds old, it can cost more than it gives: look at 2 bits. (Without error feedback the kit rounds
# by lot, which is right on average, so that there is little to repair; with it, to the nearest level.) And 360 test images have a standard error of more than a point:
# smaller gains mean nothing here.
#
# One of these runs, here:

# %%
for name, compression in {"32 bits": None, "4 bits": fl.KBit(4)}.items():
    run = fl.Simulation(
        model,
        devices,
        local=local,
        cohort=0.1,
        seed=0,
        test=data.test,
        evaluate_every=20,
        compression=compression,
    )
    history = run.run(20, progress=False)
    sent = history.until(20, lambda r: r.bytes_up)
    print(f"{name:8} {sent:9,} bytes up (counted), accuracy {history[-1].accuracy:.1%}")

# %% [markdown]
# ## Explain, 2: what must be hidden in it
#
# *From whom?* There are two answers, and neither replaces the other.
#
# **From those who read the model: noise.** In DP-FedAvg (McMahan et al., 2018) each update is shortened to norm $C$ where it is longer.
# The server adds up, adds noise of standard deviation $zC$ to every entry *of the sum*, and divides by
# the expected number of devices, $qm$ (a share $q$ of $m$). An entry of the mean then has noise of
#
# $$\sigma = \frac{zC}{qm}.$$
#
# (ε, δ) means: whatever one looks for in the model, it is at most $e^\varepsilon$ times as likely with a device as without it, but for a
# probability δ. ε follows from $z$, $q$, the number of rounds, and δ; not from how many devices share the noise. With $q$ and ε fixed, $z$ stays nearly
# where it is (only δ, here $m^{-1.1}$, asks for a little more), and σ falls almost as $1/m$:

# %%
about = table.about
q, clip, rounds = about["share"], about["clip"], about["rounds"]
print(f"  devices   ε     z   σ of an entry   norm of the noise, {P:,} entries   costs")
for m in table.populations():
    for epsilon in (1.0, 2.0, 8.0):
        z = table.noise(m, epsilon)
        sigma = z * clip / (q * m)
        print(
            f"{m:9,} {epsilon:3g} {z:5.2f} {sigma:15.4f} {sigma * math.sqrt(P):36.2f}"
            f"   {table.cost(m, epsilon):4.1f} points"
        )
print(f"a mean of updates of norm at most {clip:g} has at most norm {clip:g}, too")

# %% [markdown]
# With 100 devices the noise of a round is several times longer than a mean of updates can be; that anything is learned is because noise
# points elsewhere every round, and updates do not. With 1,000 it is about eight times shorter. **The price of privacy is paid by small federations.**
#
# `noise_for` finds $z$ with opacus, PyTorch's library for differential privacy, which keeps account of ε over rounds (Rényi
# orders; Mironov et al., 2019). Is it here? If not, the table above stands, and only this cell is left out.

# %%
try:
    z = fl.noise_for(2.0, rounds=rounds, share=q, delta=few**-1.1)
    print(f"z for ε = 2 with {few} devices: {z:.3f}, in the table {table.noise(few, 2.0):.3f}")
    half = fl.Privacy(clip=clip, noise=z).epsilon(rounds // 2, q, few**-1.1)
    print(f"after half of the rounds ε = {half:.2f}: more than half of it is spent")
except tk.TinykitError as error:
    print(error)

# %% [markdown]
# **From the server: masks.** With secure aggregation (Bonawitz et al., 2017) every two devices agree on a secret seed. One adds the random numbers that grow
# from it to its update, the other subtracts them. What the server receives from one device looks like noise. In the sum all masks
# cancel:

# %%
masking = fl.Masking(bits=32, clip=1.0)
ten = list(range(10))
parties = fl.SecureSum(masking, ten, P, seed=0, round=0)
masked = {d: parties.mask(d, updates[d]) for d in ten}
total = parties.sum(masked)

exact = sum(masking.to_fixed(updates[d], len(ten)).astype(np.int64) for d in ten) % 2**32
received = sum(masked[d].astype(np.int64) for d in ten) % 2**32
print(
    f"what was received, added up modulo 2^32: the sum of what was meant, bit for bit: {np.array_equal(exact, received)}"
)
print(
    f"off by rounding to fixed point: {np.abs(total - updates.sum(0)).max():.1e} at most, of entries up to {np.abs(updates.sum(0)).max():.2f}"
)
print(
    f"correlation of what device 0 sent with its update: {np.corrcoef(masked[0], updates[0])[0, 1]:+.3f} "
    f"(chance: ±{1 / math.sqrt(P):.3f})"
)

shown = FigureView()
shown.show(
    {
        "seen": tk.plots.what_the_server_sees(
            updates[0],
            masked[0],
            32,
            title="What the server sees of device 0",
            subtitle="counted; left without masks, right with",
        )
    },
    "Left, the entries of an update crowd around 0; right, the numbers sent are spread evenly.",
    1,
)
shown

# %% [markdown]
# *Looks like noise, and the sum is exact*: arithmetic modulo $2^{32}$ wraps around, so that a number plus a uniformly random one is itself uniformly random, and
# yet can be taken back to the last bit. If a device drops out, its masks stay in the others' sums; the others then
# reveal shares of its key. (`fl.Masking` is a teaching example: its docstring says what a real protocol adds.)
#
# | | from the server, one device's update | from readers of the model, that a device took part |
# |---|---|---|
# | nothing | open | open |
# | masks | **hidden** | open: the exact sum is used |
# | noise at the server | open: it is trusted | **hidden**, up to ε |
# | both | **hidden** | **hidden**, up to ε |
#
# And a masked update cannot be compressed: it is random to the last bit. The kit says so:

# %%
try:
    fl.Simulation(
        model,
        devices,
        fl.FedAvg(weighted=False),
        cohort=0.2,
        masking=masking,
        compression=fl.KBit(4),
    )
except tk.TinykitError as error:
    print(error)

# %% [markdown] part="exercise"
# ## Exercise 1: say some of it, keep the rest
#
# Top-k with error feedback. The device has an `update` and a `residual`, what it could not say so far. It sends the `k` entries of
# their sum that are largest in magnitude (zeros elsewhere), and keeps what the message lacks. Update $(1, -3, 0.5, 2)$, residual
# $(0, 1, -4, 1)$, two entries: the sum is $(1, -2, -3.5, 3)$, the message $(0, 0, -3.5, 3)$, and $(1, -2, 0, 0)$ is kept.


# %% exercise="say_and_keep"
def say_and_keep(update, residual, k):
    """update, residual: float64 (P,); returns np.stack([message, new residual])"""
    ### BEGIN SOLUTION
    x = update + residual
    largest = np.argsort(-np.abs(x))[:k]
    message = np.zeros_like(x)
    message[largest] = x[largest]
    return np.stack([message, x - message])
    ### END SOLUTION


# %% [markdown]
# ## Exercise 2: clip, add up, add noise
#
# The server's side of DP-FedAvg. `updates` has a row for each device that answered. Shorten rows that are longer than `clip`,
# add them up, add noise (`normal` holds standard normal numbers, so that your result can be checked), divide by `expected`, the number of devices that take part
# on average. Rows $(3, 4)$ and $(0.3, 0.4)$, clip 1, noise 0.5, normal $(1, -1)$, expected 4: the first row becomes $(0.6, 0.8)$, the sum is
# $(0.9, 1.2)$, with noise $(1.4, 0.7)$, the result $(0.35, 0.175)$.


# %% exercise="private_mean"
def private_mean(updates, clip, noise, normal, expected):
    """updates: float64 (n, P), normal: (P,); returns the private mean, (P,)"""
    ### BEGIN SOLUTION
    norms = np.linalg.norm(updates, axis=1, keepdims=True)
    shortened = updates * np.minimum(1, clip / norms)
    return (shortened.sum(0) + noise * clip * normal) / expected
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="say_and_keep" points=4
### BEGIN HIDDEN TESTS
course.check("say_and_keep", say_and_keep).require()
### END HIDDEN TESTS
course.check("say_and_keep", say_and_keep)

# %% check="private_mean" points=5
### BEGIN HIDDEN TESTS
course.check("private_mean", private_mean).require()
### END HIDDEN TESTS
course.check("private_mean", private_mean)

# %% [markdown]
# With your `private_mean` the cost of few devices can be seen in a single round. How much of the mean of the ten updates is left,
# and how much were there a thousand devices that send the like?

# %%
try:
    rng = np.random.default_rng(0)
    quiet = private_mean(updates, clip, 0.0, np.zeros(P), len(updates))
    for times in (1, 10, 100):
        rows = np.tile(updates, (times, 1))
        noisy = private_mean(rows, clip, 1.2, rng.standard_normal(P), len(rows))
        cosine = noisy @ quiet / np.linalg.norm(noisy) / np.linalg.norm(quiet)
        print(f"{len(rows):5,} updates: cosine between the private mean and the mean {cosine:.2f}")
except NotImplementedError:
    print("The private mean has to be written first.")

# %% [markdown] part="further"
# ## Going further
#
# - Choose `clip` smaller and larger in `fl.Privacy`: too small, and updates lose length (which a larger step size at the server can give back: try `fl.FedAvgM`); too large, and noise
#   grows with it. Where is the best for 100 devices?
# - `Masking(bits=16)` sends half the bytes. Ten devices share the range of a number: how many levels has each?
# - Why is a cohort sampled by lot, `Cohort(share=0.1, sampling="poisson")`, where ε is accounted for? Ask for a fixed number and read
#   what the kit says.
# - `python -m tinykit.explore.sweep uplink` makes the table again.
# - [On Flower and Ray](13_flower_and_ray.ipynb): the same simulation on other machines.
