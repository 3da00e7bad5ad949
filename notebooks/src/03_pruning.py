# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Find out which weights a trained network can lose, how far training makes up for it, and what of it makes a program on a chip smaller or faster
#     minutes: 50
#     prerequisites:
#       - the lesson "From a notebook to a chip"
#       - Python and a little PyTorch
#       - no hardware
#     teaches:
#       - "Han, Pool, Tran, Dally, Learning both Weights and Connections for Efficient Neural Networks, NeurIPS 2015, arXiv:1506.02626 (magnitude, iterative pruning)"
#       - "Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, arXiv:2010.07611 (LAMP)"
#       - "Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019, arXiv:1906.10771 (Taylor)"
#       - "He et al., Filter Pruning via Geometric Median, CVPR 2019, arXiv:1811.00250 (FPGM)"
#       - "Zhu and Gupta, To prune, or not to prune, 2017, arXiv:1710.01878 (gradual pruning)"
#       - "Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019, arXiv:1803.03635 (rewinding)"
#       - "Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023, arXiv:2301.12900 (channels that depend on each other)"
# ---

# %% [markdown]
# # Pruning

# %% [markdown]
# A trained network has more weights than it needs. *Pruning* takes some away: it sets them to zero and keeps
# them there, or removes whole channels. Han et al. (2015) removed 89 % of AlexNet's weights and kept
# its accuracy.
#
# **One question: which half of a network's weights can go?**

# %%
import numpy as np

import tinykit as tk
from tinykit import course, explore
from tinykit.compress.pruning import nonzero
from tinykit.compress.workbench import Workbench

explorer = explore.load("prune")
data = explorer.data  # the digits, 8 × 8 pixels
model = explorer.networks["lenet"].build(data)  # trained beforehand

bench = Workbench(model, data, "unstructured", "magnitude")  # tries cuts, one after another
names = list(bench.weights)
for number, name in enumerate(names, 1):
    weights = bench.weights[name]
    print(f"layer {number}, {bench.kinds[name]:10}{weights.size:7,} weights")
print(f"\naccuracy on the test images: {bench.measure():.1%}")

# %% [markdown] part="predict"
# ## Predict
#
# In *one* of the five layers the 80 % of the weights with the smallest magnitudes are set to zero. All other layers stay
# whole, and nothing is trained afterwards. **In which layer does that cost most accuracy?**

# %%
share = 0.8
gone = [round(share * bench.weights[name].size) for name in names]
prediction = course.predict(
    "The cut that costs most accuracy is the one in …",
    {f"layer {n}, where {count:,} weights go": n for n, count in enumerate(gone, 1)},
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Every turn of a knob sets weights to zero and sends the test images through the network. Move *Remove*. Then set
# *How much* to *ranked together*: the same number of weights goes, but each layer loses what it loses. Which layers give
# most? Try *random* as the criterion. Then *channels*, and watch **what gets smaller**. Last, let it train.

# %%
prediction.gate(explorer.view)

# %% [markdown] part="compare"
# ## Compare

# %%
scan = bench.scan((0.2, 0.4, 0.5, 0.6, 0.8, 0.9))
print("accuracy on the validation images when one layer alone is cut:")
print("share removed " + "".join(f"{ratio:8.0%}" for ratio in (0, *scan.ratios)))
for number, row in enumerate(scan.accuracy, 1):
    print(f"layer {number}       " + "".join(f"{a:8.1%}" for a in (scan.baseline, *row)))

worst = int(scan.accuracy[:, scan.ratios.index(share)].argmin())
prediction.compare(
    worst + 1,
    f"{gone[worst]:,} weights, {gone[worst] / sum(w.size for w in bench.weights.values()):.1%} of "
    f"all, cost {100 * scan.drop[worst, scan.ratios.index(share)]:.0f} points of accuracy; "
    f"{gone[3]:,} weights of layer 4 cost {100 * scan.drop[3, scan.ratios.index(share)]:.1f}.",
)

# %% [markdown] part="explain"
# ## Explain
#
# **Few weights, much work.** Layer 1 has only $8 \cdot 3 \cdot 3 = 72$ weights, but each of them is used at all 64 places of the image, and all that
# follows is computed from its eight channels. Layer 4 has half of the network's weights, each used once. (Layer 1's accuracy rises
# again from 80 to 90 %: a network that is mostly wrong may be wrong less often after another cut.)
#
# So half of *each layer* is not the half that can go. If weights of all layers are ranked together, the
# large layers give more:

# %%
half = dict.fromkeys(bench.layers, 0.5)
for what, amount in (("half of each layer", half), ("half of all", 0.5)):
    trial = bench.try_out(amount)
    kept = ", ".join(f"{trial.kept[name].mean():.0%}" for name in names)
    print(f"{what:20} stays, by layer: {kept:32} accuracy {trial.accuracy:.1%}")

# %% [markdown]
# **Which weights?** A *criterion* scores each; the lowest go first.
#
# - *Magnitude* (Han et al., 2015): $w^2$, which ranks as $|w|$ does. A small weight changes sums little.
# - *Taylor* (Molchanov et al., 2019): how much the loss $L$ changes when $w$ becomes zero, to first
#   order, squared: $(g\,w)^2$ with the gradient $g = \partial L / \partial w$. With $g = 0.1$ and $w = 2$, $(0.1 \cdot 2)^2 = 0.04$; with
#   $g = 1$ and $w = 0.5$, 0.25: the smaller weight matters more. It looks at data.
# - *LAMP* (Lee et al., 2021): magnitude, made comparable between layers. Your exercise.
# - *FPGM* (He et al., 2019), for whole filters: the one that lies nearest to all the others can be replaced by them.
# - *Random* is what each should beat.
#
# All weights are ranked together here, and nothing is trained:

# %%
print("share removed" + "".join(f"{amount:8.0%}" for amount in (0.5, 0.8, 0.9)))
for criterion in ("magnitude", "taylor", "lamp", "random"):
    ranking = Workbench(model, data, "unstructured", criterion)
    row = "".join(f"{ranking.try_out(amount).accuracy:8.1%}" for amount in (0.5, 0.8, 0.9))
    print(f"{criterion:13}{row}")

# %% [markdown]
# **And then train.** What is left can adapt, the zeros stay. The *schedule* says when weights go: all at once (*one-shot*);
# in rounds, each removing the same share of what is left (*iterative*); a little all the time (*gradual*,
# Zhu & Gupta, 2017), where after a part $t$ of the time
#
# $$s(t) = s_{\text{end}}\left(1 - (1 - t)^3\right)$$
#
# of the weights are gone: at half time $1 - 0.5^3$ = 87.5 % of what is to go. *Rewinding* (Frankle & Carbin, 2019) keeps
# the mask, sets the weights that stay back to where they *started*, and trains again. They found
# that this small network, a *lottery ticket*, learns as well as the whole one did, and that it does not when it starts from
# other random weights. Han et al. could remove 80 % of AlexNet's weights at once, and 89 % in rounds. This is a small network,
# trained once each: do not read more into a point or two.

# %%
start = tk.zoo.lenet(data.spec, seed=0).state_dict()  # where this model started
other = tk.zoo.lenet(data.spec, seed=1).state_dict()
schedules = {
    "no training": {"epochs": 0},
    "one-shot": {"epochs": 12},
    "iterative, 3 rounds": {"epochs": 4, "rounds": 3},
    "gradual": {"epochs": 12, "schedule": "gradual"},
    "rewound to its start": {"epochs": 12, "schedule": "rewind", "rewind_to": start},
    "another start": {"epochs": 12, "schedule": "rewind", "rewind_to": other},
}
sparse = {}
print("90 % of the weights removed, by LAMP, 12 epochs")
for name, schedule in schedules.items():
    cut = tk.Prune(0.9, structure="unstructured", criterion="lamp", **schedule)
    sparse[name] = tk.compress(model, data, cut, progress=False)
    print(f"{name:22}{tk.evaluate(sparse[name], data):7.1%}")

# %% [markdown]
# **What does the chip see?** A weight that is zero is a number like any other: it is stored, loaded and multiplied. Only
# *structure* can change that. *N:M* keeps N of every M neighbours, for hardware that skips the others (2:4 on GPUs: Mishra et al.,
# 2021, arXiv:2104.08378); *blocks* and *patterns* put zeros where a kernel written for them could skip them. tinykit's
# engine has no such kernels. What every runtime understands is a smaller dense network: *channels*. Both networks here have
# lost about nine of ten parameters; they run as int8 on an emulated Cortex-M4.

# %%
narrow = tk.compress(model, data, tk.Prune(0.9, structure="channel", epochs=12), progress=False)
networks = {"whole": model, "90 % zeros": sparse["one-shot"], "90 % by channels": narrow}
print(f"{'':18}{'parameters':>11}{'accuracy':>10}{'MACs':>9}{'instructions':>14}{'flash B':>9}")
profiles = {}
for name, network in networks.items():
    graph = tk.to_graph(network, calibrate=data)
    profile = profiles[name] = tk.profile(graph, "stm32f446")
    count = nonzero(network)
    print(
        f"{name:18}{count:11,}{tk.evaluate(graph, data):10.1%}{profile.macs:9,}"
        f"{profile.instructions:14,}{profile.flash_bytes:9,}"
    )
pairs = zip(profiles["whole"].layers, profiles["90 % zeros"].layers, strict=True)
same = [whole.instructions == zeros.instructions for whole, zeros in pairs]
print(
    f"\nwhole or 90 % zeros, the same to the instruction: {sum(same)} of the graph's {len(same)} ops"
)

# %% [markdown]
# Parameters are counted without zeros. The sparse network is about as accurate as the whole one, and the chip sees no
# difference: most ops (layers, and what lies between them) run exactly as many instructions as before (some take branches that
# depend on values, and these are other values). The narrow network is smaller and faster, and pays in accuracy: one
# cannot pick single weights in it. (Its flash does not shrink by nine tenths, because the program's code stays.)
#
# Zeros do pay in a *file*: for download, or for a runtime that unpacks. It has to say where the others are: a bitmap takes $n/8$ bytes,
# the $k$ that are left 4 each.

# %%
n = sum(w.size for w in bench.weights.values())
k = n // 10
print(f"float32: {4 * n:,} B; with a bitmap: {n:,} / 8 + 4 · {k:,} = {n // 8 + 4 * k:,} B", end="")
print(f", {4 * n / (n // 8 + 4 * k):.1f} times smaller")

# %% [markdown]
# **Channels depend on each other.** When layer 1 loses a channel, layer 2 loses its weights that read it. In a residual network
# it goes further: $y = f(x) + x$ can only be added if both have the same channels, so the layers that
# make them must lose *the same ones*. A dependency graph (Fang et al., 2023) finds who goes with whom (layers have the names that
# `model.named_modules()` gives them):

# %%
residual = explorer.networks["resnet8"].build(data)
together = Workbench(residual, data, "channel").together
for number, makers in enumerate(together.values(), 1):
    print(f"channels {number}: made by {' and '.join(makers)}")

first, second = together["0.0"]
try:
    tk.compress(residual, data, tk.Prune({first: 0.25, second: 0.5}, structure="channel"))
except tk.TinykitError as error:
    print(f"\n{error}")

# %% [markdown] part="exercise"
# ## Exercise: LAMP
#
# Weights of different layers have different sizes, so ranking them together by magnitude alone may empty a layer. LAMP
# (Lee et al., 2021) asks how large a weight is *among those that would still be there* when its turn comes:
#
# $$\text{score}(w_u) = \frac{w_u^2}{\sum_{v:\; w_v^2 \ge w_u^2} w_v^2}$$
#
# The sum runs over the weights of the same layer that are at least as large. For $w = (1, -3, 2)$: $1/14$, $9/9$ and
# $4/13$. The largest weight of each layer scores 1, so no layer is emptied. Write it for a layer, in four to six lines of numpy;
# sorting once is enough, no loop. `np.argsort` and `np.cumsum` help. (No two magnitudes are equal in the check.)


# %% exercise="lamp_scores"
def lamp_scores(w):
    """w: float64 array of any shape; returns an array of the same shape"""
    ### BEGIN SOLUTION
    square = w.ravel() ** 2
    order = np.argsort(square)
    left = np.cumsum(square[order][::-1])[::-1]
    scores = np.empty_like(square)
    scores[order] = square[order] / left
    return scores.reshape(w.shape)
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="lamp_scores" points=5
### BEGIN HIDDEN TESTS
course.check("lamp_scores", lamp_scores).require()
### END HIDDEN TESTS
course.check("lamp_scores", lamp_scores)

# %% [markdown]
# Now let your scores choose the 10 % that stay, beside the kit's own, and beside plain magnitude.

# %%
lamp = Workbench(model, data, "unstructured", "lamp").try_out(0.9)
plain = bench.try_out(0.9)
try:
    scores = {name: lamp_scores(w.astype(np.float64)) for name, w in bench.weights.items()}
    every = np.sort(np.concatenate([s.ravel() for s in scores.values()]))
    limit = every[round(0.9 * len(every))]
    yours = {name: int((s >= limit).sum()) for name, s in scores.items()}
except NotImplementedError:
    yours = dict.fromkeys(names, "–")
print(f"{'weights that stay':20}{'yours':>8}{'LAMP':>8}{'magnitude':>11}{'of':>9}")
for number, name in enumerate(names, 1):
    print(
        f"layer {number:<14}{yours[name]:>8}{int(lamp.kept[name].sum()):8,}"
        f"{int(plain.kept[name].sum()):11,}{bench.weights[name].size:9,}"
    )

# %% [markdown] part="further"
# ## Going further
#
# - In the explorer, set ResNet-8's ratios *by the scan*: no layer alone may lose more than a point. What do all of them
#   together lose? The scan prunes one layer at a time. Does training make up for it?
# - `tk.Prune(structure="2:4")` needs no amount. Why not, and which layers cannot have it?
# - `tinykit.compress.encoded` writes positions shorter than a bitmap where few weights stay. From which share on?
# - `tk.Prune(0.7) + tk.Quantize(bits=8)`: channels first, then integers. Why in this order?
# - [Inside the engine](02_inside_the_engine.ipynb) shows what an instruction of a layer does. What would a kernel have to do
#   for every pair of weights to skip a zero, and what would that cost?
