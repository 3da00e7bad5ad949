# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: See what a layer's time on a chip is made of, turn each of the engine's techniques on and off, and pack weights so that one instruction does two multiply-accumulates
#     minutes: 50
#     prerequisites:
#       - the lesson "From a notebook to a chip"
#       - a little C helps; you write Python
#       - no hardware
#     teaches:
#       - "Lin et al., MCUNet: Tiny Deep Learning on IoT Devices, NeurIPS 2020, arXiv:2007.10319 (TinyEngine)"
#       - "Lai, Suda, Chandra, CMSIS-NN: Efficient Neural Network Kernels for Arm Cortex-M CPUs, 2018, arXiv:1801.06601"
#       - "Lin et al., MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning, NeurIPS 2021, arXiv:2110.15352"
#       - "Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, arXiv:2001.03288"
#       - "Chen et al., TVM: An Automated End-to-End Optimizing Compiler for Deep Learning, OSDI 2018, arXiv:1802.04799"
# ---

# %% [markdown]
# # Inside the engine

# %% [markdown]
# An *engine* turns a network into a program. tinykit's writes C for one network and one core, as
# TinyEngine does (Lin et al., 2020): shapes, weights and addresses are known when the C is written, so
# nothing is looked up when it runs. Every technique that makes this C fast or small can be turned off, and
# none changes a bit of the result.
#
# **One question: a Cortex-M4 multiplies and accumulates in one instruction (MLA). How many instructions
# does a layer of $N$ multiply-accumulates take?**

# %%
import numpy as np

from tinykit import course, explore
from tinykit.engine import arrange
from tinykit.search import tune
from tinykit.search.sites import isolate

explorer = explore.load("inside-engine")
LAYER = 2  # a pointwise convolution: 32 channels to 32, on 12 × 12 pixels
off = dict.fromkeys(["specialise", "simd", "unroll", "fuse", "in_place"], False)

plain = explorer.compute(off).built  # generated, compiled, run on an emulated Cortex-M4
macs = plain.macs[LAYER]
print(
    f"layer {plain.layers[LAYER]}: 12 · 12 · 32 · 32 = {12 * 12 * 32 * 32:,} multiply-accumulates"
)

# %% [markdown] part="predict"
# ## Predict
#
# With every technique off, one C function computes the convolutions of all shapes: loops over
# pixels, channels and taps around `sum += x * w`, compiled with `-O2`. **How many instructions does
# the chip run for each multiply-accumulate of this layer?**

# %%
prediction = course.predict(
    "Instructions for each multiply-accumulate, everything included:",
    {
        "1, as MLA does it": 1,
        "2, as something has to be loaded too": 2,
        "3, two loads and an MLA": 3,
        "5 or more": 5,
    },
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# It starts with everything off. Turn on *Own kernels*, then *SIMD*: what do the instructions of layer 2 do now, and
# what does the assembly look like where it is busiest (▌)? Turn on *In place*, then *Patches*: what do these change, and
# what do they cost? Every combination is built and run when you first choose it.

# %%
prediction.gate(lambda: explorer.view(**off, layer=LAYER))

# %% [markdown] part="compare"
# ## Compare

# %%
each = plain.instructions[LAYER] / macs
prediction.compare(each, "The next cells take the layer apart.")

# %% [markdown] part="explain"
# ## Explain: a multiplication needs company
#
# This is the busiest stretch of the layer, as the compiler made it, and how often each line ran.

# %%
step = plain.code[LAYER]
print("\n".join(step.loop))

inner = step.loop_runs * len(step.loop)
rest = plain.instructions[LAYER] - inner
outputs = 12 * 12 * 32
print(f"\nthis loop: {len(step.loop)} · {step.loop_runs:,} = {inner:,} instructions,", end=" ")
print(f"{inner / macs:.2f} for each multiply-accumulate")
print(f"all else:  {rest:,} instructions, {rest / outputs:.0f} for each output")

# %% [markdown]
# The loop takes one input for four output channels: four MLA, and five LDRSB that load the input and four weights, as a
# multiplication's operands have to be in registers; one more load, an addition (the zero point), a comparison and a jump come with them. And
# what happens once for each output (the bias, rescaling to int8, rounding, clipping, finding the next weights) is spread over 32
# multiply-accumulates only, one for each *tap*, as the weights of an output channel are called. With $c$ instructions a multiply-accumulate in the loop and $d$ an output,
#
# $$\frac{\text{instructions}}{N} = c + \frac{d}{\text{taps}}.$$

# %%
c, d = inner / macs, rest / outputs
print(f"{c:.2f} + {d:.0f} / 32 = {c + d / 32:.2f}")

# %% [markdown]
# **Two at once.** SMLAD multiplies two pairs of 16-bit numbers and adds both products to a register, in one
# instruction. CMSIS-NN (Lai et al., 2018) is built on it. But weights and inputs have 8 bits: they must be widened first,
# which costs instructions again. Inputs are widened once, into working memory, for all output channels that read them.
# Weights would have to be widened for every pixel; so the engine keeps the weights of *two output channels*, $a$ and $b$, in the same word, as
# the halfwords $256\,b + a$. Multiplied as it stands, the word gives $256\,B + A$, where $A$ and $B$ are the sums of the
# two channels. SXTB16 takes the lower bytes out, one instruction for both, and they give $A$. The rest is a subtraction:
# one of the two channels is never widened at all.
#
# A step of the loop for $P$ pixels and $W$ words (two taps, $2W$ channels) then takes $P$ loads of
# inputs, $W$ of weights, $W$ SXTB16 and $2PW$ SMLAD, for $4PW$ multiply-accumulates:
#
# $$c = \frac{P + 2W + 2PW}{4PW}.$$
#
# And LDRD loads two words with one instruction.


# %%
def inner_cost(pixels, words, wide=0):
    loads = pixels + words
    if wide:  # by LDRD: two steps' inputs and weights, or two words of weights
        loads = loads / 2 if words == 1 else pixels + words / 2
    return (loads + words + 2 * pixels * words) / (4 * pixels * words)


best = explorer.compute({}).built
print(f"P = 3, W = 1: c = (3 + 2 + 6) / 12 = {inner_cost(3, 1):.3f}", end="")
print(f", with LDRD {inner_cost(3, 1, wide=1):.3f}")
counted = best.instructions[LAYER]
print(f"counted, everything included: {counted / macs:.2f}; beside the loop: ", end="")
print(
    f"{(counted - inner_cost(3, 1, wide=1) * macs) / outputs:.0f} for each output (it was {d:.0f})"
)
print(f"the outputs are the same, bit for bit: {best.exact and plain.exact}")

# %% [markdown]
# **Which $P$ and $W$?** More of both means fewer loads, until the 14 registers that can hold sums and addresses (r0 to r12, lr) are
# full and values move to memory and back. No formula says where exactly, so the engine asks the machine: it builds
# every *schedule* that a kernel has for the layer, counts each on the emulator and keeps the best. That is what TVM
# (Chen et al., 2018) does for kernels of all kinds; it has so many to choose from that a learned
# model of their cost picks those worth trying. Here they are few enough to try all:

# %%
(graph,) = [g for name, g in explorer.models.items() if name.startswith("DS-CNN")]
tuning = tune(isolate(graph, [LAYER]), core="cortex-m4")
(choice,) = tuning.choices.values()
print(f"{'schedule':42}{'instructions/MAC':>17}{'formula':>9}{'arena B':>9}{'code B':>8}")
for trial in sorted(choice.trials, key=lambda t: t.instructions):
    knobs = dict(trial.schedule.knobs)
    formula = ""
    if knobs:
        formula = f"{inner_cost(knobs['pixels'], knobs['words'], knobs.get('wide', 0)):.3f}"
    print(
        f"{trial.schedule!s:42}{trial.instructions / macs:17.2f}{formula:>9}"
        f"{trial.arena:9,}{trial.flash:8,}"
    )

# %% [markdown]
# `dsp_conv` is the kernel's name; `pixels` is $P$, `words` is $W$; with `steps=8` a turn of the loop does 8 steps, with
# `steps=0` the loop is written out whole; `wide=1` loads by LDRD; *none* is the shared function. The formula leaves out what
# happens once an output, and registers; and the compiler does a layer alone a little differently than among others. All trials are exact: a schedule with one wrong bit would be thrown away.
#
# **And the memory?** Without *In place* every output needs a place beside its input. With it, a layer writes over
# inputs that it has read for the last time (TinyEngine does so for depthwise layers). Finding the best places
# for all tensors is a packing problem (Pisarchyk and Lee, 2020); the engine compares its answer with a bound that no
# answer can beat. What remains is the first layers, whose images are largest.
# *Patches* (MCUNetV2) compute these a strip of rows at a time: no image is ever whole. Where strips meet, rows are
# either computed twice or kept.

# %%
choices = {
    "everything on": {},
    "own kernels off": {"specialise": False},
    "SIMD off": {"simd": False},
    "unrolling off": {"unroll": False},
    "fusion off": {"fuse": False},
    "fused wherever possible": {"fuse": "always"},
    "in place off": {"in_place": False},
    "4 strips, recomputed": {"patches": "recompute-4"},
    "4 strips, kept": {"patches": "keep-4"},
    "smallest arena": {"patches": "smallest"},
}
print(f"{'':24}{'instructions':>13}{'arena B':>9}{'flash B':>9}{'computed twice':>16}")
for name, change in choices.items():
    built = explorer.compute(change).built
    print(
        f"{name:24}{built.total:13,}{built.arena_bytes:9,}{built.flash_bytes:9,}"
        f"{built.recomputed:16.1%}"
    )

plan = arrange(graph, "cortex-m4").plan
print(f"\nwith these kernels and without strips, none can be smaller than {plan.lower_bound:,} B")

# %% [markdown]
# Techniques pay where a layer has what they save. On this network *own kernels*, *SIMD* and *unrolling* bring the time,
# *in place* and *patches* the memory; SIMD takes a little memory, for the widened inputs. *Fusing* a depthwise and a pointwise convolution keeps the image between them as
# halfwords: it need not be widened again, but takes twice its bytes, where the two apart work in place. The engine
# fuses only where that saves instructions and costs no memory. Try the residual network, and a core without SIMD.

# %% [markdown] part="exercise"
# ## Exercise: two channels in a word
#
# Pack the weights of two channels. For taps $0, 1, 2, 3, \ldots$ of channels $a$ and $b$, word $i$ holds
#
# $$\text{low half: } 256\,b_{2i} + a_{2i}, \qquad \text{high half: } 256\,b_{2i+1} + a_{2i+1},$$
#
# each as 16 bits of a two's complement. For example $a = (1, -2)$, $b = (5, 6)$: the halves are
# $256 \cdot 5 + 1$ = 0x0501 and $256 \cdot 6 - 2$ = 0x05FE, the word is 0x05FE0501. Three to five lines of numpy; the
# types are part of the task.


# %% exercise="pack_pairs"
def pack_pairs(a, b):
    """a, b: int8 (n,), n even, from -127 to 127; returns uint32 (n / 2,)"""
    ### BEGIN SOLUTION
    halves = 256 * b.astype(np.int64) + a
    halves = halves & 0xFFFF
    words = halves[0::2] | halves[1::2] << 16
    return words.astype(np.uint32)
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself
#
# Your words against those of the engine's own kernel.

# %% check="pack_pairs" points=5
### BEGIN HIDDEN TESTS
course.check("pack_pairs", pack_pairs).require()
### END HIDDEN TESTS
course.check("pack_pairs", pack_pairs)

# %% [markdown]
# Now let them work. These two functions do what the instructions of the same name do; with your words they
# compute two channels at once.


# %%
def halfwords(word):
    return np.array([word], np.uint32).view(np.int16).astype(int)  # low, high


def smlad(x, w, total):
    """total + low · low + high · high"""
    return total + int(halfwords(x) @ halfwords(w))


def sxtb16(w):
    """The lower byte of each halfword, widened with its sign."""
    return np.array([w], np.uint32).view(np.int8)[::2].astype(np.int16).view(np.uint32)[0]


rng = np.random.default_rng(0)
a, b = rng.integers(-127, 128, (2, 32)).astype(np.int8)
x = rng.integers(-128, 128, 32).astype(np.int16)
try:
    A = both = 0
    for pair, word in zip(x.view(np.uint32), pack_pairs(a, b), strict=True):
        A = smlad(pair, sxtb16(word), A)
        both = smlad(pair, word, both)
    B = (both - A) // 256
    print(f"by SMLAD: {A:,} and {B:,}; by numpy: {a.astype(int) @ x:,} and {b.astype(int) @ x:,}")
except NotImplementedError:
    print("They have to be packed first.")

# %% [markdown] part="further"
# ## Going further
#
# - `explorer.compute({"core": "cortex-m0plus"})`: no SMLAD there, not even a multiplication with 64 bits of
#   result. What do the techniques still bring?
# - Drop a model of your own on the explorer, or the `digits.tflite` of
#   [From a notebook to a chip](01_from_notebook_to_chip.ipynb). Which layer takes most, and why?
# - `tinykit compile MODEL.tflite` writes the C that you have seen into a folder. Read a layer of your own.
# - The formula for $c$ counts no registers. A pixel and a word need $2PW$ sums, and more for what is
#   loaded. Where in the table of trials do you see the limit?
# - [Deploying to microcontrollers](../tutorials/01_deploying_to_microcontrollers.ipynb) asks what int8
#   does to time on a chip without a floating-point unit.
