# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Follow one layer from ranges to scales to integers and back without a floating-point number, and see what each bit of a weight costs in accuracy
#     minutes: 50
#     prerequisites:
#       - the lesson "From a notebook to a chip"
#       - binary numbers
#       - no hardware
#     teaches:
#       - "Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, arXiv:1712.05877"
#       - "Krishnamoorthi, Quantizing deep convolutional networks for efficient inference: A whitepaper, 2018, arXiv:1806.08342"
#       - "Nagel et al., A White Paper on Neural Network Quantization, 2021, arXiv:2106.08295"
#       - "Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153"
# ---

# %% [markdown]
# # From scales to integers

# %% [markdown]
# A chip without a floating-point unit runs networks all the same: numbers are stored as integers, and a *scale*
# beside them says what they stand for.
#
# **One question: how does a network compute without a single floating-point number, and what does each bit cost?**
#
# The network is a small DS-CNN for the digits that ship: a convolution, two depthwise-separable
# blocks, a linear layer. It is trained already.

# %%
import math

import numpy as np

import tinykit as tk
from tinykit import course, explore
from tinykit.explore.quantize import trained
from tinykit.graph.interpreter import run

data = tk.data.load("digits")
model = trained("ds_cnn", data.spec)
explorer = explore.load("quantize")
whole = explorer.compute({"bits": 8})
for n, layer in enumerate(whole.study.layers):
    print(f"layer {n}: {layer.kind:12} {layer.size:4} weights")
print(f"test accuracy in float {whole.study.float_accuracy:.1%}; ", end="")
print(f"weights and activations in 8 bits {whole.accuracies[1]:.1%}")

# %% [markdown] part="predict"
# ## Predict
#
# Eight bits cost nothing here. **Now all weights get 4 bits**: 15 levels, with one scale for each
# layer so that its largest weight is just represented. Activations keep 8 bits, and
# nothing is trained again. **How many of the test images does the network get right?**

# %%
prediction = course.predict(
    "Test accuracy with weights of 4 bits, a scale a layer:",
    {
        "97 %, as with 8 bits": 97,
        "some 90 %": 90,
        "some 50 %": 50,
        "10 %, as by guessing": 10,
    },
    unit="%",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# It starts with 8 bits. Turn *Bits of all* down to 4, and look at each layer: at which is accuracy lost, and what do the channels
# of that layer have that those of others do not? Repair it: with more bits for that layer alone,
# with a scale for each channel, with another range. Each accuracy is measured while you turn, by *fake quantization*: numbers are
# rounded to their levels, but computed with as floats. (Layers count from 0 here.)

# %%
prediction.gate(lambda: explorer.view(bits=8))

# %% [markdown] part="compare"
# ## Compare

# %%
four = explorer.compute({"bits": 4})
prediction.compare(100 * four.accuracies[1], "The second half of this lesson finds out why.")

# %% [markdown] part="explain"
# ## Explain: integers all the way
#
# **From a range to a scale.** With $B$ bits there are $2^B$ integers. They are laid over the range $[a, b]$ that a tensor takes on examples
# (Jacob et al., 2018): neighbours are a *scale* $s$ apart, and the *zero point* $z$ is the integer that stands for 0,
#
# $$s = \frac{b - a}{2^B - 1}, \qquad z = \mathrm{round}\Big({-2^{B-1}} - \frac{a}{s}\Big), \qquad
# q = \mathrm{clamp}\Big(\mathrm{round}\Big(\frac{x}{s}\Big) + z\Big), \qquad x \approx s\,(q - z).$$
#
# This is the network as integers, as TFLite computes it, and its last layer: 16 inputs, 10 outputs.

# %%
graph = tk.to_graph(model, calibrate=data, softmax=False)
op = graph.ops[-1]
x, w, bias = (graph.tensors[i] for i in op.inputs)
y = graph.tensors[op.outputs[0]]
kinds = sorted({t.dtype for t in graph.tensors})
print(f"types of all {len(graph.tensors)} tensors: {', '.join(kinds)}")

s_x, z_x = x.quant.scale[0], x.quant.zero_point[0]
a, b = (float(s_x * (q - z_x)) for q in (-128, 127))
print(f"inputs of {op.kind}: from {a:.3f} to {b:.3f}")
print(f"s = ({b:.3f} - {a:.3f}) / 255 = {s_x:.5f}; z = round(-128 - {a:.0f} / s) = {z_x}")
q = round(1 / s_x) + z_x
print(
    f"x = 1 becomes q = round(1 / {s_x:.5f}) - {-z_x} = {q}, and that stands for {s_x * (q - z_x):.3f}"
)

# %% [markdown]
# $z$ is rounded so that **0 is stored exactly**. Convolutions pad images with zeros, and a ReLU makes most numbers 0; an error there
# would not average out, as all of them would be off to the same side.

# %%
study = whole.study
zeros = [float((study.values(n, "activations") == 0).mean()) for n in range(5)]
print("outputs that are exactly 0, layer by layer:", " ".join(f"{z:.0%}" for z in zeros))

# %% [markdown]
# **Multiply and add in integers.** Weights are *symmetric*: as many levels above 0 as below, $z_w = 0$. The real output is a sum of real products; put the
# integers in, and the scales come out of the sum:
#
# $$\sum_i s_w q_{w,i} \cdot s_x (q_{x,i} - z_x) = s_w s_x \Big(\underbrace{\sum_i q_{w,i}\,(q_{x,i} - z_x)}_{\text{an int32}}\Big).$$
#
# The bias is stored in steps of $s_w s_x$ too, and joins the sum as it is.

# %%
seen = {}
images = graph.input.stored(data.test.x)
for image in images:
    run(graph, [image[None]], observe=lambda i, v: seen.setdefault(i, []).append(v))
q_x, want = (np.concatenate(seen[i]) for i in (op.inputs[0], op.outputs[0]))

total = (q_x.astype(np.int64) - z_x) @ w.data.T.astype(np.int64) + bias.data
print(f"one sum: {total[0, 0]:,}; the largest on {len(images)} images: {np.abs(total).max():,}")
print(
    f"it takes {int(np.abs(total).max()).bit_length()} bits and a sign; an int32 has 31 and a sign"
)

# %% [markdown]
# **Back to 8 bits.** The next layer wants steps of $s_y$. A sum counts in steps of $s_w s_x$; so it has to be
# multiplied by
#
# $$M = \frac{s_w\, s_x}{s_y},$$
#
# which is no integer. But it is known before the chip ever runs, and any number is nearly an integer over a power of two: $M \approx m \cdot 2^{-n}$. A multiplication of
# integers and a *shift* to the right do it. With $2^{30} \le m < 2^{31}$, $m$ fills an int32.

# %%
s_w, s_y, z_y = w.quant.scale, y.quant.scale[0], y.quant.zero_point[0]
M = s_w.astype(float) * float(s_x) / float(s_y)  # one for each output channel
n = 39
m = round(M[0] * 2**n)
print(f"M = {s_w[0]:.5f} · {s_x:.5f} / {s_y:.5f} = {M[0]:.10f}")
print(f"m = round(M · 2^{n}) = {m:,}: {m.bit_length()} bits; m / 2^{n} = {m / 2**n:.10f}")

# %% [markdown]
# (Yours is the exercise to find $n$ for any $M$.) All that is left is rounding, and a product of 63 bits. TFLite keeps the product's upper
# half first, which is what processors have instructions for, and shifts that: it rounds twice.


# %%
def rescale(total, m, n):
    """total · m / 2**n in integers, for n from 32 on, as TFLite rounds it."""
    high = (total * m + (1 << 30)) >> 31  # / 2**31; adding half of that first rounds it
    half = 1 << (n - 32)
    return (high + half - (high < 0)) >> (n - 31)  # the rest; -2.5 becomes -3, as 2.5 becomes 3


got = np.clip(rescale(total[:, 0], m, n) + z_y, -128, 127)
print(f"one output: {total[0, 0]:,} becomes {got[0]}")
print(f"all {len(got)} as the interpreter has them: {np.array_equal(got, want[:, 0])}")
print(tk.verify(graph, samples=10))

# %% [markdown]
# The table compares the whole network's integers with TFLite Micro's, where that can be
# installed. Not one bit may differ: integers, unlike floats, leave nothing to the order of a sum. (LiteRT, for phones, has
# faster kernels that round in another way; it is listed for information.)
#
# **What each bit costs.** A number that is rounded to steps of $s$ is off by up to $s/2$ to either side; if all errors in between are
# equally likely, the mean of their squares is
#
# $$\frac{1}{s}\int_{-s/2}^{s/2} e^2\, \mathrm{d}e = \frac{s^2}{12}.$$
#
# A bit less doubles $s$, nearly, so the squared error becomes four times as large, bit by bit. (Nearly: weights of 8 bits have 127
# levels above 0, of 7 bits 63, but of 4 bits 7 and of 3 bits 3, which is $7/3 = 2.3$ times the step and 5.4 times the error.) For the weights of layer 3, a depthwise convolution, and for accuracy:

# %%
print(f"{'':6}{'layer 3, mean squared error':>26}{'accuracy of the network':>31}")
print(f"{'bits':6}{'s²/12':>13}{'measured':>13}{'a scale a layer':>17}{'a scale a channel':>19}")
power = float((study.values(3, "weights") ** 2).mean())
for bits in range(8, 1, -1):
    tensor = explorer.compute({"bits": bits})
    channel = explorer.compute({"bits": bits, "scales": "channel"})
    s = float(tensor.levels.scale[0])
    error = power * sum(study.errors(3, "weights", tensor.shown))
    right, better = tensor.accuracies[1], channel.accuracies[1]
    print(f"{bits:4}  {s * s / 12:13.5f}{error:13.5f}{right:17.1%}{better:19.1%}")

# %% [markdown]
# Down to 3 bits the formula is right to a third; with 2, nearly all weights become 0, and errors are not spread over a step. Accuracy behaves
# otherwise: it loses next to nothing down to 6 bits, little with 5, and then falls off a cliff. And the cliff has a place.

# %%
print("weights of one layer alone in 4 bits, and the widest and the median range of its channels:")
for n, layer in enumerate(study.layers):
    alone = explorer.compute({"bits": 4, "layer": n})
    low, high = study.channels(n, "weights")
    reach = np.maximum(-low, high)
    accuracy = f"{alone.accuracies[0]:.1%}"
    print(f"layer {n} {layer.kind:12}{accuracy:>7}   ±{reach.max():.2f}, ±{np.median(reach):.2f}")
all_but = explorer.compute({"bits": 4, "bits_3": 8}).accuracies[1]
per_channel = explorer.compute({"bits": 4, "scales": "channel"})
print(f"\nall in 4 bits: {four.accuracies[1]:.1%}; layer 3 with 8: {all_but:.1%}; ", end="")
print(f"a scale a channel: {per_channel.accuracies[1]:.1%}")
sizes = [sum(r.bytes_of(n) for n in range(6)) for r in (four, per_channel)]
print(f"bytes of weights and scales: {sizes[0]:,.0f} and {sizes[1]:,.0f}")

step = study.levels(3, "weights", four.formats[3]).scale[0]
kernels = np.round(study.values(3, "weights", "channel") / step)
used = [len(np.unique(kernel)) for kernel in kernels]
print(f"\nlayer 3, step {step:.2f}: levels that each channel uses: {used}")
norm = model[3][1]  # the batch norm behind layer 3's convolution
gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().abs().numpy()
widest = int(np.argmax(study.channels(3, "weights")[1] - study.channels(3, "weights")[0]))
print(f"batch norm multiplies channel {widest} by {gain[widest]:.1f}, ", end="")
print(f"the median channel by {np.median(gain):.1f}")

# %% [markdown]
# **The surprise**: one channel of 16, nine weights, sets the step of the whole layer, and of the 15 levels the others use one
# to five: a channel that uses one is gone. Nobody asked for it: batch norm divides each channel by its own spread, and
# when it is folded into the weights, a channel of small spread gets large ones. Krishnamoorthi (2018) saw
# MobileNetV1 fall to 0.1 % on ImageNet for this reason, at 8 bits with a scale a layer. With a
# scale a channel, each has its own step. In integers that costs the scales and nothing else, as $M$ is then per channel too; these
# layers are so small that scales weigh a lot.
#
# **Clip, and round finer?** A range smaller than the values' *clips* the largest, and has smaller steps for the others. Least squares chooses where the two
# errors together are least (Nagel et al., 2021).

# %%
print(f"{'4 bits':20}{'range':15}{'accuracy':>9}   squared error by layer, % of the weights'")
for scales in ("tensor", "channel"):
    for observer in ("minmax", "mse"):
        r = explorer.compute({"scales": scales, "observer": observer})
        errors = [100 * sum(study.errors(k, "weights", f)) for k, f in enumerate(r.formats)]
        name = "a scale a layer" if scales == "tensor" else "a scale a channel"
        title = "min-max" if observer == "minmax" else "least squares"
        row = " ".join(f"{e:5.2f}" for e in errors)
        print(f"{name:20}{title:15}{r.accuracies[1]:9.1%}   {row}")

# %% [markdown]
# With a scale a layer, clipping rescues much. With a scale a channel it makes every error smaller, *and the network worse*: the
# squared error of weights is not what the network is for, and the large weights that it clips may matter most. What
# is wanted is a step that makes the *loss* small. LSQ (Esser et al., 2020) learns it by gradient descent, together with the weights.

# %% [markdown] part="exercise"
# ## Exercise: any factor in 31 bits
#
# Write the function that finds $m$ and $n$ for a positive factor: $\text{real} \approx m \cdot 2^{-n}$, with
# $2^{30} \le m < 2^{31}$, as near as possible. For example 0.75 is $1610612736 \cdot 2^{-31}$. `math.frexp(real)` gives a fraction $f$, $\tfrac12 \le f < 1$, and an
# exponent $e$ with $\text{real} = f \cdot 2^e$. Three to five lines.


# %% exercise="fixed_point"
def fixed_point(real):
    """real: a positive float below 2; returns ints m, n"""
    ### BEGIN SOLUTION
    fraction, exponent = math.frexp(real)
    m = round(fraction * 2**31)
    if m == 2**31:
        m, exponent = 2**30, exponent + 1
    return m, 31 - exponent
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself
#
# Your numbers against those that the interpreter and the generated C use.

# %% check="fixed_point" points=5
### BEGIN HIDDEN TESTS
course.check("fixed_point", fixed_point).require()
### END HIDDEN TESTS
course.check("fixed_point", fixed_point)

# %% [markdown]
# Now let them work: the whole last layer with your factors, one for each class, and the digits that it sees.

# %%
try:
    columns = [rescale(total[:, k], *fixed_point(M[k])) for k in range(10)]
    result = np.clip(np.stack(columns, axis=1) + z_y, -128, 127)
    same = int((result == want).sum())
    print(f"{same:,} of {want.size:,} outputs are the interpreter's, bit for bit")
    print(f"accuracy of the integers: {(result.argmax(1) == data.test.y).mean():.1%}")
except NotImplementedError:
    print("They have to be found first.")

# %% [markdown] part="further"
# ## Going further
#
# - In the explorer, quantize *activations* with a symmetric grid: which levels does nobody use, and what does that cost at 4 bits?
# - Find bits for each layer, with a scale a channel, so that the weights take fewest bytes and accuracy stays above
#   96 %. Which layer needs most?
# - Layer 3's wide channel can also be repaired without more scales: make its weights smaller and those of the next layer that
#   read it larger, and the network computes the same (Nagel et al., 2019, arXiv:1906.04721). `tinykit.quant.ptq.equalized(model)` does it.
# - `tk.compress(model, data, tk.Quantize(bits=4))` trains with quantization in the loop, with learned steps.
# - [Inside the engine](02_inside_the_engine.ipynb) shows the instructions that multiply these integers, and
#   [Deploying to microcontrollers](../tutorials/01_deploying_to_microcontrollers.ipynb) asks you for a whole int8 layer.
