# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Choose where a range ends when bits are few, tell clipping from rounding, and see when training makes the choice moot and when the gradient's rule decides
#     minutes: 45
#     prerequisites:
#       - scales and zero points (the lesson on quantization)
#       - PyTorch; what a gradient is
#       - no hardware
#     teaches:
#       - "Tailor, Alizadeh, Lane, TorchQuant, On-Device Intelligence Workshop, MLSys 2021"
#       - "Banner, Nahshan, Soudry, Post-training 4-bit quantization of convolutional networks for rapid-deployment, NeurIPS 2019, arXiv:1810.05723"
#       - "Bengio, Léonard, Courville, Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation, 2013, arXiv:1308.3432"
#       - "Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153"
# ---

# %% [markdown]
# # Range and precision

# %% [markdown]
# A few bits are a few levels. Spread over a wide *range* they lie far apart, and every number is rounded
# by a lot; over a narrow one they are *precise*, and what lies beyond is clipped. TorchQuant (Tailor,
# Alizadeh, Lane, 2021) is a library for such experiments; this is the experiment, repeated.
#
# **One question: where should the range end?**
#
# The network has three linear layers and recognises digits. All weights, or all hidden activations, are quantized,
# with one scale a tensor; the rest stays float. The end of the range is given as a share of the tensor's
# largest magnitude.

# %%
import numpy as np

import tinykit as tk
from tinykit import course
from tinykit.course.ranges import NAMES, RangeTable
from tinykit.explore.figure_view import FigureView
from tinykit.explore.sweep import range_precision as sweep
from tinykit.plots.ranges import range_errors
from tinykit.quant.ranges import Ranged, symmetric_error

data = tk.data.load("digits")
model = sweep.network(data, seed=0)  # trained here, in a second or two
ranged = Ranged.of(model, data, "weights")
shipped = RangeTable()

print(f"{shipped.about['network']}, accuracy {tk.evaluate(model, data):.1%}")
for number, (w, top) in enumerate(zip(ranged.values, ranged.tops, strict=True)):
    size = np.abs(w.numpy())
    print(
        f"layer {number}: {size.size:5,} weights, the largest {top:.2f}; "
        f"half of them are below {np.median(size) / top:.0%} of it"
    )

# %% [markdown] part="predict"
# ## Predict
#
# The weights get 2 bits, that is the levels $-c$, $0$ and $c$; nothing is trained afterwards. **At which end $c$ of the
# range are most digits recognised?**

# %%
prediction = course.predict(
    "The best end of the range, as a share of the largest weight:",
    {
        "1: no weight may be clipped": 1.0,
        "about 0.6": 0.6,
        "about 0.3": 0.3,
        "about 0.1": 0.1,
    },
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Everything here was measured beforehand, for three seeds (the table ships with the script that made
# it). Start at 2 bits and move the end inwards. Which error falls, which rises? Where do the observers (black marks) stand,
# and do they agree? Then 8 bits. Then *hidden activations*, and watch the two lines of the clipped and the identity STE.

# %%
prediction.gate(lambda: course.RangeExplorer().view(bits=2))

# %% [markdown] part="compare"
# ## Compare


# %%
def mean(values):
    return sum(values) / len(values)


untrained = {end: mean(seeds) for end, seeds in shipped.accuracies("weights", 2, "ptq").items()}
best = max(untrained, key=untrained.get)
prediction.compare(
    best,
    f"There {untrained[best]:.1%} are recognised (mean of three seeds); "
    f"with nothing clipped {untrained[1.0]:.1%}: guessing gives 10 %.",
)

# %% [markdown] part="explain"
# ## Explain: two errors that pull apart
#
# With $b$ bits a symmetric range from $-c$ to $c$ has the step $s = c / (2^{b-1} - 1)$. A value inside is off by at most $s/2$; were
# it equally likely to lie anywhere within a step, its mean squared error would be $s^2/12$. A value
# outside is off by $|x| - c$:
#
# $$E(c) = \underbrace{\frac{1}{12}\left(\frac{c}{2^{b-1}-1}\right)^2}_{\text{rounding}}
# + \underbrace{\mathrm{mean}\,\bigl(\max(|x| - c,\, 0)^2\bigr)}_{\text{clipping}}.$$
#
# Bits make the first part smaller and leave the second alone. Setting the derivative to 0 gives the best end
# (Banner et al., 2019, do this for Gaussian and Laplace distributions):
#
# $$\frac{c}{12\,(2^{b-1}-1)^2} = \mathrm{mean}\,\bigl(\max(|x| - c,\, 0)\bigr).$$
#
# With more bits the left side falls, so $c$ moves outwards. Does the formula hold? For the first layer:

# %%
x = ranged.values[0].numpy().astype(float).ravel()
ends = np.linspace(0.02, 1, 99) * np.abs(x).max()


def balance(end, bits):
    """Negative where the end lies too far inside."""
    outside = np.maximum(np.abs(x) - end, 0)
    return end / (12 * (2 ** (bits - 1) - 1) ** 2) - outside.mean()


print("bits   best end by formula   measured   rounding there: s²/12   measured   clipped")
for bits in sweep.BITS:
    formula = ends[np.argmax([balance(end, bits) >= 0 for end in ends])]
    errors = [symmetric_error(x, end, bits) for end in ends]
    at = int(np.argmin([sum(e) for e in errors]))
    step = ends[at] / (2 ** (bits - 1) - 1)
    print(
        f"{bits:4}   {formula / ends[-1]:19.2f}   {ends[at] / ends[-1]:8.2f}   {step**2 / 12:21.2e}"
        f"   {errors[at][1]:8.2e}   {np.mean(np.abs(x) > ends[at]):7.1%}"
    )

# %% [markdown]
# The formula finds the end at every number of bits. The size of the rounding error it overrates at 2 bits: most weights round to
# 0 there, and are nearer to it than numbers that lie anywhere within a step.
#
# All layers together, from the table: one line a bit-width, dotted its rounding; clipping (dashed) is the same for
# all of them, as all end at the same level. The black marks are where observers put the end at 2 bits.

# %%
lines = {bits: shipped.errors("weights", bits) for bits in sweep.BITS}
marks = {name: seen[:2] for name, seen in shipped.observed("weights", 2).items()}
figure = range_errors(
    lines,
    marks=marks,
    title="Clipping and rounding of weights",
    subtitle="measured; mean of three layers, three seeds",
)
told = "; ".join(f"{bits} bits: least at {line.best:g}" for bits, line in lines.items())
shown = FigureView()
shown.show({"errors": figure}, told, 1)
shown

# %% [markdown]
# **Where do observers land?** Min-max clips nothing that it has seen. An EMA averages the extremes of batches,
# so single peaks count less; weights are seen once, and it is min-max there. A percentile (here 99.99 %) leaves out a share
# of the values. MSE minimises $E(c)$ for each tensor; KL compares distributions.

# %%
for what in ("weights", "activations"):
    print(f"{what:12} bits   observer                  end   error   accuracy")
    for bits in (2, 4, 8):
        for name, (end, error, accuracy) in shipped.observed(what, bits).items():
            print(f"{bits:17}   {name:22} {end:6.2f} {error:7.2%} {accuracy:10.1%}")
hidden = Ranged.of(model, data, "activations")
zeros = np.mean(np.concatenate([v.numpy().ravel() for v in hidden.values]) == 0)
print(f"hidden activations that are exactly 0: {zeros:.0%}")

# %% [markdown]
# At 2 bits the observer of the weights decides between a network and none: only MSE serves. At 8 bits none of this matters: take min-max. The
# activations of this network are easy even at 2 bits: behind a ReLU no level is spent on a sign, and many values are exactly 0. KL alone fails
# there, in one of the three networks, where it lets a range end at 2 % of the largest. And less error is not always more digits: with 360 test
# images the standard error of an accuracy is about a point.
#
# **Now train.** Quantization-aware training rounds in the forward pass; in the backward pass a
# *straight-through estimator* (STE) stands in for the derivative of rounding (Bengio et al., 2013), which is 0 nearly everywhere.
# "With gradient clipping" can mean three things, and the table has all of them:
#
# - the **clipped STE** passes the gradient of a value inside the range and none of a clipped one; that is the true
#   derivative of clipping;
# - the **identity STE** passes all gradients, as if nothing had been clipped;
# - **gradient norms clipped**: the gradient of each parameter is shortened to a length of 0.1 where it is longer, here with the
#   identity STE. This is the remedy for exploding gradients, and has nothing to do with ranges.
#
# And with LSQ (Esser et al., 2020) the range itself is learned.


# %%
def accuracy_table(what, bits):
    ends = sweep.TRAINED_SHARES
    print(f"{what}, {bits} bits".ljust(46) + "".join(f"{end:14g}" for end in ends))
    for method, name in NAMES.items():
        if found := shipped.accuracies(what, bits, method):
            cells = [
                f"{mean(found[e]):7.1%} ±{(max(found[e]) - min(found[e])) / 2:5.1%}" for e in ends
            ]
            print(name.ljust(46) + "".join(cells))
    print()


print("accuracy by the end of the range: mean of three seeds ± half the distance between extremes")
for what in ("weights", "activations"):
    for bits in (2, 8):
        accuracy_table(what, bits)
on = shipped.float_accuracies(trained_on=True)
print(f"float {mean(shipped.float_accuracies()):.1%}; float, trained on as long, {mean(on):.1%}")
learned = shipped.learned_ends("weights", 2)
print("learned ranges of 2-bit weights:", end=" ")
print(", ".join(f"from {start:g} to {end:.2f}" for start, end in learned.items()))

# %% [markdown]
# **Training makes much of the choice moot, not all of it.** Untrained, 2-bit weights need an end near 0.3; trained, any
# from 0.2 to 0.6 gives more than 90 %. At the extremes training does not repair what the range took. With 2 bits and nothing clipped
# a weight has to exceed half of the largest not to become 0, and about one in a hundred does; with an end of 0.1 there is no
# large weight, whatever the bits. A *learned* range gets away from both ends, though not all the way in so few steps.
#
# **For weights, the rule of the gradient hardly matters.** A clipped weight that goes on moving outwards stays clipped, and the network
# computes the same. Only at 0.1 is the clipped STE ahead, by a few points, about as much as seeds differ. *Clipping norms* changes nothing that
# could be told from chance (at 2 bits, where it was tried), least of all what the identity STE breaks: Adam divides each gradient by
# its own running size, so shorter ones make the same steps.
#
# **The surprise is in activations.** With the identity STE and a tight range, *training makes the network worse than no
# training*, at 2 bits and at 8. The cell below trains two of these networks again: what does training do to the share of clipped activations?

# %%
bench = sweep.Bench(hidden, seed=0)
tight = bench.ranged.at(2, [0.1 * top for top in bench.ranged.tops])
print(
    f"{'2 bits, range up to 0.1 of the largest':40} accuracy   in the table   activations clipped"
)
nets = {"ptq": tight} | {m: bench.network(2, 0.1, m) for m in ("clipped", "identity")}
for method, net in nets.items():
    known = shipped.accuracies("activations", 2, method)[0.1][0]
    beyond = bench.ranged.clipped(net)
    print(f"{NAMES[method]:40} {tk.evaluate(net, data):8.1%}   {known:12.1%}   {beyond:19.1%}")

# %% [markdown]
# A clipped activation no longer depends on the weights before it: its true gradient is 0. The identity STE says otherwise, "a
# little more of this would help", and the weights follow; the activation grows, its clipped value stays, and so
# does the gradient that asks for more. Soon most activations are clipped and tell nothing of the image. The clipped STE leaves such weights
# to the examples for which the activation is inside. Weights have nothing before them, which is why the same rule does little harm there.

# %% [markdown] part="exercise"
# ## Exercise: tell the two errors apart
#
# Write the function behind all of these figures. Quantize `x` symmetrically, levels from `-end` to `end`, and return the squared error
# of the clipped values and of all others, each divided by the number of *all* values, so that the two add up to the
# whole. For example $x = (0.1, -0.4, 0.9, -1.5)$, end 1, 2 bits: the levels are $-1, 0, 1$; clipping costs
# $0.5^2 / 4 = 0.0625$, rounding $(0.1^2 + 0.4^2 + 0.1^2) / 4 = 0.045$. About five lines of numpy.


# %% exercise="clip_and_round"
def clip_and_round(x, end, bits):
    """x: float64 (n,); returns [clipping, rounding], mean squared errors"""
    ### BEGIN SOLUTION
    step = end / (2 ** (bits - 1) - 1)
    y = np.clip(np.round(x / step) * step, -end, end)
    squared = (x - y) ** 2
    beyond = np.abs(x) > end
    return np.array([squared[beyond].sum(), squared[~beyond].sum()]) / x.size
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="clip_and_round" points=5
### BEGIN HIDDEN TESTS
course.check("clip_and_round", clip_and_round).require()
### END HIDDEN TESTS
course.check("clip_and_round", clip_and_round)

# %% [markdown]
# It makes an observer: scan the ends, take the best for each layer, and set these ranges. Does your observer keep up with the kit's?

# %%
try:
    for bits in (2, 3, 4):
        chosen = []
        for w, top in zip(ranged.values, ranged.tops, strict=True):
            flat = w.numpy().astype(float).ravel()
            scan = top * np.linspace(0.05, 1, 96)
            chosen.append(float(min(scan, key=lambda end: clip_and_round(flat, end, bits).sum())))
        kits = ranged.observed(bits, "mse")
        mine, theirs = (tk.evaluate(ranged.at(bits, e), data) for e in (chosen, kits))
        at = ", ".join(f"{e / top:.2f}" for e, top in zip(chosen, ranged.tops, strict=True))
        print(
            f"{bits} bits: ends {at}; accuracy {mine:.1%}, with the kit's MSE observer {theirs:.1%}"
        )
except NotImplementedError:
    print("The two errors have to be told apart first.")

# %% [markdown] part="further"
# ## Going further
#
# - `ranged.at(2, ends)` takes an end for each layer. Which layer needs its range most? Beat the MSE observer by hand: why is
#   that possible at all?
# - Write an observer of your own (`class Mine(tk.quant.Observer, name="mine")`, see `docs/quantizers.md`) and let
#   `ranged.observed(2, "mine")` use it.
# - One scale for each output channel needs no wide range where a channel's weights are small. How much of the trade-off is left?
# - `python -m tinykit.explore.sweep range_precision` makes the table again; its settings are at the top of
#   `tinykit/explore/sweep/range_precision.py`.
# - [Mixed precision](07_mixed_precision.ipynb) asks which layers deserve the bits.
