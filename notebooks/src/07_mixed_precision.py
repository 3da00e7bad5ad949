# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Measure which layers need their bits, spend a budget of bytes exactly, check whether it was worth it, and see what of it a microcontroller's formats keep
#     minutes: 45
#     prerequisites:
#       - the lesson "Range and precision", or what 4-bit weights are
#       - PyTorch
#       - no hardware
#     teaches:
#       - "Dong et al., HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks, NeurIPS 2020, arXiv:1911.03852"
#       - "Wang et al., HAQ: Hardware-Aware Automated Quantization with Mixed Precision, CVPR 2019, arXiv:1811.08886"
#       - "Rusci, Capotondi, Benini, Memory-Driven Mixed Low Precision Quantization for Enabling Deep Network Inference on Microcontrollers, MLSys 2020, arXiv:1905.13082"
#       - "Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153"
# ---

# %% [markdown]
# # Mixed precision

# %% [markdown]
# Nothing demands that all layers of a network have equally many bits. HAQ (Wang et al., 2019) lets a learning agent
# choose for each layer; HAWQ-V2 (Dong et al., 2020) measures how sensitive each is and solves for the
# choice. This lesson does the latter, with a measurement that needs no Hessian.
#
# **One question: if you may spend $B$ bytes on weights, which layers deserve the bits?**

# %%
from importlib.resources import as_file, files

import numpy as np

import tinykit as tk
from tinykit import course
from tinykit.course.bits import MixedTable
from tinykit.explore.sweep import mixed_precision as sweep
from tinykit.nn.weights import load_weights
from tinykit.quant.mixed import allocate, joint_cost, sensitivity

data = tk.data.load("digits")
shipped = MixedTable()
model = tk.zoo.ds_cnn(data.spec, width=sweep.WIDTH)
with as_file(files("tinykit.explore") / "tables" / "mixed_precision.npz") as path:
    load_weights(model, path)  # the table's first seed, trained beforehand

names = ["stem"] + [f"{kind}{n}" for n in (1, 2, 3, 4) for kind in ("dw ", "pw ")]
names = dict(zip(shipped.weights, [*names, "linear"], strict=True))
weights = {names[n]: count for n, count in shipped.weights.items()}
print(f"a DS-CNN on digits, accuracy {tk.evaluate(model, data):.1%}; weights of its ten layers")
print("(dw: depthwise, pw: pointwise):")
print(", ".join(f"{name} {count:,}" for name, count in weights.items()))

# %% [markdown] part="predict"
# ## Predict
#
# All weights have 2 bits (levels $-c, 0, c$), and you may give one layer a third. A layer of $n$ weights takes $n/8$ bytes for it.
# **In which layer, counted from the input, does a byte help most?**

# %%
prediction = course.predict(
    "The layer in which the loss falls most for each byte:",
    {
        "layer 1, the stem: it reads the image (288 weights)": 1,
        "layer 3, the first of the four largest (1,024 weights)": 3,
        "layer 8, a depthwise one: nine weights to a filter (288)": 8,
        "layer 10, linear: it decides (320 weights)": 10,
    },
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# The budget is given as the average bits of a weight. Start at 2 and raise it: who gets the first bits, who the last? Is it ever best
# to give all layers the same?

# %%
costs = {names[n]: by for n, by in shipped.sensitivity(seed=0).items()}
sizes = {names[n]: by for n, by in sweep.sizes_of(model, "packed").items()}
prediction.gate(lambda: course.BitsExplorer(costs, sizes, weights).view(average=2.0))

# %% [markdown] part="compare"
# ## Compare


# %%
def gain(seed, name):
    """What the third bit takes off the loss, nats for each byte; this layer alone is rounded."""
    by = shipped.sensitivity(seed)[name]
    return (by[2] - by[3]) / (shipped.weights[name] / 8)


order = list(names)
best = [max(order, key=lambda name, seed=seed: gain(seed, name)) for seed in sweep.SEEDS]
said = ", ".join(names[name] for name in best)
prediction.compare(order.index(best[0]) + 1, f"In the table's three networks it is: {said}.")

# %% [markdown] part="explain"
# ## Explain: measure, then solve
#
# The *sensitivity* $c_l(b)$ of layer $l$ is the rise of the loss (nats an example, on 512 training images) with this layer alone at
# $b$ bits. Ten layers, seven widths: 70 short evaluations, and no label is needed if the outputs' divergence is measured
# instead (`metric="kl"`). A part of the table again, here:

# %%
live = sensitivity(model, data, (2, 3, 4), examples=sweep.EXAMPLES)
print(
    f"{'layer':13}{'weights':>8}   2 bits (table)   3 bits   4 bits   millinats a byte, from 2 to 3"
)
for name, label in names.items():
    two, three, four = live[name].values()
    print(
        f"{label:13}{shipped.weights[name]:8,}{two:9.3f} ({costs[label][2]:.3f}){three:9.3f}"
        f"{four:9.3f}{1000 * gain(0, name):12.2f}"
    )

# %% [markdown]
# One of the smallest layers is the most sensitive here: the stem, with 288 weights, costs more than any of the four with 1,024, and a
# byte in it is worth several times one anywhere else. The next cell looks whether that is so in the other
# networks, too.

# %%
for seed in sweep.SEEDS:
    known = shipped.sensitivity(seed)
    costly = sorted(order, key=lambda name: -known[name][2])[:3]
    print(f"network {seed}, worst alone at 2 bits:", end=" ")
    print(", ".join(f"{names[name]} {known[name][2]:.3f}" for name in costly), end="; ")
    dear = sorted(order, key=lambda name, seed=seed: -gain(seed, name))[:3]
    print("worth most a byte:", ", ".join(names[name] for name in dear))

# %% [markdown]
# Which layer costs most differs from training to training, though stem and large pointwise layers always lead; worth most *a byte*
# is always the stem, then the first depthwise layer. Size says little, and what little it says is that small layers are cheap to serve.
#
# A layer of $n_l$ weights takes $n_l b_l / 8$ bytes. Suppose that sensitivities add up; then the best choice is
#
# $$\min_{b_1, \ldots, b_L} \sum_l c_l(b_l) \quad\text{with}\quad \sum_l \frac{n_l b_l}{8} \le B,$$
#
# a *knapsack* with one option from each layer. There are $7^{10}$ choices, but what matters of the layers before is only how many bytes they
# have spent. With $f_l(s)$ the least cost of the first $l$ layers within $s$ bytes,
#
# $$f_l(s) = \min_b \Bigl( f_{l-1}\bigl(s - n_l b / 8\bigr) + c_l(b) \Bigr).$$

# %%
average = 2.5
budget = sweep.budget_of(model, average)
packed = sweep.sizes_of(model, "packed")
measured = shipped.sensitivity(seed=0)
bits = allocate(measured, packed, budget)
spent = sum(packed[n][b] for n, b in bits.items())
print(f"{7 ** len(names):,} choices; about {len(names) * 7 * budget:,} steps of the formula")
print(f"an average of {average} bits, biases on top: {budget:,} bytes, of which {spent:,} are used")
print(", ".join(f"{names[n]} {b}" for n, b in bits.items()))
total = sum(measured[n][b] for n, b in bits.items())
uniform = sum(by[2] for by in measured.values())
print(f"sum of the sensitivities {total:.3f} nats; with 2 bits everywhere {uniform:.3f}")

# %% [markdown]
# **Was it worth it?** Three networks, each with its own sensitivities; beside the solved choice the same bits for all, and bits handed out by chance
# until the same budget is full (five draws). Accuracies are on the test split, with activations of 8 bits; *trained* means five epochs
# with the bits in place and learned steps (LSQ).


# %%
def show(values):
    if not values:
        return "–".rjust(15)
    half = (max(values) - min(values)) / 2
    return f"{np.mean(values):8.1%} ±{half:5.1%}"


print("mean ± half the distance between extremes")
print(
    "average bits   not trained:  mixed        uniform         chance   trained:   mixed        uniform         chance"
)
for average in sweep.AVERAGES:
    row = [
        show(shipped.found(average, method, column))
        for column in ("ptq", "qat")
        for method in ("mixed", "uniform", "random")
    ]
    print(f"{average:12g}" + "".join(row))
print(f"float {np.mean(shipped.float_accuracies):.1%}")

# %% [markdown]
# *Between the whole bits, yes.* A quarter of a bit beyond 2 takes the untrained networks from 82 % to more than 95 %; given out by
# chance, the same bytes reach about 90 %. So a good half of what is won are more bytes, the rest is where they go.
# *At the same bytes as equal bits for all, no*: at 3, 4 and 5 bits, mixed and uniform differ by less than half a point. (Equal bits are
# a good choice there, not just any: chance is behind at 3.) The network has nothing left to win. And training closes most of the
# gaps: at 2.5 bits chance is about a point behind the solved choice, at 3 bits uniform is not behind at all.
#
# **Do sensitivities add up?** The formula supposes so. Measured together, on the same images:

# %%
print("average bits   method    sum of sensitivities   measured together")
for average in (2.0, 2.5, 3.0, 4.0):
    for method in ("mixed", "uniform"):
        sums, joint = (shipped.found(average, method, c) for c in ("sum", "joint"))
        if sums:
            print(f"{average:12g}   {method:9}{np.mean(sums):21.3f}{np.mean(joint):20.3f}")
again = joint_cost(model, data, bits, examples=sweep.EXAMPLES)
print(f"here, the choice from above: sum {total:.3f}, together {again:.3f} nats")

# %% [markdown]
# At 4 bits they do. With few bits all layers together cost half as much again, up to about twice the sum: a layer's errors are the input of the next, which
# was measured with a clean one. At 3 bits that is more than the choice is worth: its sum is smaller than that of uniform bits, as
# it has to be, and what is measured together is not.
#
# **And on a chip?** TFLite stores weights of 4 and of 8 bits, and no others: 2 and 3 bits take the room of 4; 5, 6
# and 7 that of 8. Below, graphs are exported and their bytes counted (weights, and biases of 4 bytes), and the engine's C is run on an emulated Cortex-M4.

# %%
plans = {
    "int8 everywhere": dict.fromkeys(names, 8),
    "int4 everywhere": dict.fromkeys(names, 4),
    "2.5 bits on average": bits,
    "5 bits everywhere": dict.fromkeys(names, 5),
    "half int8, half int4": next(r["bits"] for r in shipped.stored(0.5) if r["seed"] == 0),
}
print(f"{'':22}packed B   in the graph B   accuracy   instructions   flash B")
for name, plan in plans.items():
    graph = tk.to_graph(sweep.untrained(model, data, plan))
    profile = tk.profile(graph, "stm32f446")
    ideal = sum(packed[n][b] for n, b in plan.items())
    print(
        f"{name:22}{ideal:8,}{graph.weight_bytes:17,}{tk.evaluate(graph, data):11.1%}"
        f"{profile.instructions:15,}{profile.flash_bytes:10,}"
    )

# %% [markdown]
# (8 bytes in each graph are the shape of a reshape.) The choice of 2.5 bits takes in the file exactly what 4 bits everywhere take, and has the
# accuracy of 2.5; 5 bits take what 8 take. There is no bit between 4 and 8 to be spent on such a runtime. Kernels that unpack 2, 4
# and 8 bits have been written for microcontrollers (Rusci et al., 2020); packing 3, 5, 6 or 7 costs shifts across bytes.
#
# Nor is int4 free: it saves two fifths of the flash and takes twelve times the instructions *in this engine*, whose
# specialised kernels (SIMD, unrolled) are written for int8, while int4 weights go through its shared, plain functions. That is a property of software, counted
# here, not of the chip.
#
# What is left of the question is which layers get int8 and which int4:

# %%
print("way from int4 to int8    bytes   accuracy, not trained, three seeds")
for share in sweep.TFLITE_SHARES:
    rows = shipped.stored(share)
    print(f"{share:21.0%}{rows[0]['bytes']:9,}   {show([r['ptq'] for r in rows])}")

# %% [markdown]
# On this network nothing: int4 everywhere is as good as int8. Mixed precision pays where few bits hurt and the
# format has widths between; so measure before you allocate.

# %% [markdown] part="exercise"
# ## Exercise: one more layer
#
# Write the step of the formula. `best[s]` is $f_{l-1}(s)$, for $s = 0, 1, \ldots$ bytes *beyond those of the fewest bits*; `costs`
# are the costs of the layer's options, `more` the bytes that each takes beyond its first, which takes 0. Return $f_l$, an array
# as long as `best`. For example `best` = (8, 8, 3, 3, 1), `costs` = (5, 1, 0), `more` = (0, 2, 3): with $s = 2$ either 3 + 5 or 8 + 1, so 8. About
# five lines; leave out options that take more than there is.


# %% exercise="add_layer"
def add_layer(best, costs, more):
    """best: float64 (budget + 1,); costs, more: (options,); returns float64 (budget + 1,)"""
    ### BEGIN SOLUTION
    new = np.full(len(best), np.inf)
    for cost, extra in zip(costs, more, strict=True):
        if extra < len(best):
            new[extra:] = np.minimum(new[extra:], best[: len(best) - extra] + cost)
    return new
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself
#
# Against the kit's own knapsack.

# %% check="add_layer" points=5
### BEGIN HIDDEN TESTS
course.check("add_layer", add_layer).require()
### END HIDDEN TESTS
course.check("add_layer", add_layer)

# %% [markdown]
# Ten of your steps solve the whole network, for every budget at once.

# %%
least = sum(by[2] for by in packed.values())
try:
    best = np.zeros(budget - least + 1)
    for name, by in packed.items():
        more = np.array([size - by[2] for size in by.values()])
        best = add_layer(best, np.array([measured[name][b] for b in by]), more)
    print(f"your least cost within {budget:,} bytes: {best[-1]:.4f} nats; the kit's: {total:.4f}")
except NotImplementedError:
    print("It has to be written first.")

# %% [markdown] part="further"
# ## Going further
#
# - `tk.Quantize(mixed=6_000)` in `tk.compress` spends a budget of bytes as TFLite stores them, and trains.
# - Write the greedy choice: raise, one bit at a time, the layer that gains most a byte. How often does it miss the exact one?
# - `sensitivity(model, data, metric="kl")` needs no labels. Does it choose differently?
# - What if activations get few bits, too? `tinykit.quant.prepare(model, activation_bits=4)`.
# - `python -m tinykit.explore.sweep mixed_precision` makes the table again.
# - [Range and precision](06_range_and_precision.ipynb) is about where the levels of these few bits lie.
