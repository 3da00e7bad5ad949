# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Take a Keras model through TFLite and TensorFlow Lite Micro to a microcontroller without a floating-point unit, read its memory and time layer by layer, and make it fit a budget
#     minutes: 60
#     prerequisites:
#       - Python and numpy
#       - what a convolution does
#       - no hardware, and no TensorFlow (what it makes ships with the kit)
#     teaches:
#       - "David et al., TensorFlow Lite Micro: Embedded Machine Learning for TinyML Systems, MLSys 2021, arXiv:2010.08678"
#       - "Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, arXiv:1712.05877"
# ---

# %% [markdown]
# # Deploying to microcontrollers

# %% [markdown]
# The chip of this workshop is the STM32F103 of the "Blue Pill", a board for a few euros: a Cortex-M3
# at 72 MHz, 64 KiB of flash for code and weights, 20 KiB of SRAM for everything that changes, and
# no unit for floating-point numbers. The network reads handwritten digits of 8 × 8 pixels.
#
# **One question: what does int8 buy on such a chip?**

# %%
import numpy as np

import tinykit as tk
from tinykit import course, formats, targets
from tinykit.formats.keras import Job, convert_all
from tinykit.targets import tflm

data = tk.data.load("digits")
board = targets.load("stm32f103")
print(
    f"{len(data.train.x)} images to train on, {len(data.test.x)} to test, shape {data.spec.shape}"
)
print(
    f"{board.title}: {board.flash_bytes:,} B flash, {board.sram_bytes:,} B SRAM, FPU: {board.fpu}"
)

# %% [markdown]
# ## Keras → TFLite
#
# Two builders: an ordinary CNN, and a slimmer one that we will need at the end. TensorFlow is heavy,
# so it runs in a process of its own: a builder imports what it needs, trains, and returns the model.
# Its converter writes a `.tflite` file, once with 32-bit floats, once with 8-bit integers. For the
# integers it looks at 200 training images, to see which range of values each tensor takes.


# %% tags=["builders"]
def cnn(x, y):
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=6, verbose=0)
    return model


def slim(x, y):
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(32, 3, padding="same", activation="relu"),
            layers.SeparableConv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=15, verbose=0)
    return model


# %%
x, y = data.train.x, data.train.y
wanted = {
    "cnn float32": Job(cnn, None, "float32", {"x": x, "y": y}),
    "cnn int8": Job(cnn, x[:200], "int8", {"x": x, "y": y}),
    "slim int8": Job(slim, x[:200], "int8", {"x": x, "y": y}),
}
try:
    made = convert_all(list(wanted.values()))
    files = {name: result.tflite for name, result in zip(wanted, made, strict=True)}
    print("Trained and converted here, by TensorFlow in a process of its own.")
except tk.TinykitError as problem:
    files = {name: course.shipped(name.replace(" ", "_")) for name in wanted}
    print(f"{problem}\nThe lesson goes on with the files that ship, made by these same builders.")

models = {name: formats.tflite.read(content) for name, content in files.items()}
for name, content in files.items():
    print(f"{name:12} {len(content):7,} B in the file, {models[name].macs:,} MACs")

# %% [markdown]
# ## TFLite → TensorFlow Lite Micro
#
# TFLite Micro is the C++ interpreter that reads such a file on a microcontroller. It asks for one
# block of memory, the *arena*, and puts everything there (David et al., 2021). Here it runs on this
# machine, through Google's own package: the same kernels, the same arithmetic, on all test
# images. Where that package has no build for the machine, tinykit's reference interpreter answers;
# for integers it gives the same numbers bit for bit.


# %%
def run_on_test_images(name):
    graph = models[name]
    images = [[graph.input.stored(image[None])] for image in data.test.x]
    try:
        run = tflm.run(files[name], images)
        outputs = [sample[0] for sample in run.outputs]
        arena = f"arena {run.arena_bytes:,} B = tensors {run.head_bytes:,} + book-keeping {run.tail_bytes:,}"
    except tk.TinykitError as problem:
        outputs = [graph.run(*sample)[0] for sample in images]
        arena = f"arena unknown: {problem}"
    right = np.mean(
        [out.argmax() == label for out, label in zip(outputs, data.test.y, strict=True)]
    )
    print(f"{name:12} {right:6.1%} right [measured]; {arena}")


for name in files:
    run_on_test_images(name)

# %% [markdown] part="predict"
# ## Predict
#
# The int8 file holds the same network with a quarter of the bits; it makes the same number of
# multiply-accumulates. The Blue Pill's core runs both, compiled as C. **How many times fewer
# instructions does the int8 network take?** Commit yourself before you look; the knobs wait for it.

# %%
prediction = course.predict(
    "On the Blue Pill, the int8 network takes …",
    {
        "as many instructions: the same multiplications": 1,
        "2 times fewer": 2,
        "4 times fewer: a quarter of the bits": 4,
        "10 times fewer, or more": 20,
    },
    unit="×",
)
prediction

# %% [markdown] part="explore"
# ## Explore: each layer, on a board
#
# Each network is compiled to C and run on an emulated core of that kind: instructions are
# **counted**, bytes are **counted** in the linked program, milliseconds are **modelled** from the
# instructions. Turn to the F446RE, a Cortex-M4 *with* a floating-point unit, and back. (The first
# look at a float network takes some seconds: it is compiled, and really run.)

# %%
explorer = course.LayerExplorer(models, ["stm32f103", "stm32f446"])
prediction.gate(explorer.view)

# %% [markdown] part="compare"
# ## Compare

# %%
f103 = {name: tk.profile(models[name], "stm32f103") for name in ("cnn float32", "cnn int8")}
ratio = f103["cnn float32"].instructions / f103["cnn int8"].instructions
prediction.compare(ratio, "The reason is below.")

# %% [markdown] part="explain"
# ## Explain
#
# Count instructions for one multiply-accumulate (MAC), with and without a floating-point unit.

# %%
for name in ("cnn float32", "cnn int8"):
    for core in ("stm32f103", "stm32f446"):
        profile = tk.profile(models[name], core)
        chip = targets.load(core)
        print(
            f"{name:12} on {chip.core.title:14} (FPU: {chip.fpu:6}) "
            f"{profile.instructions / profile.macs:6.1f} instructions a MAC"
        )

# %% [markdown]
# A Cortex-M3 has no floating-point instructions. The compiler turns every `a * b + c` on floats into
# calls of library routines that unpack exponents, shift, add and pack again, tens of instructions
# each. On integers it is one multiply-accumulate instruction, plus loads. So the gain is not the bits: on
# the M4, whose unit multiplies floats in one instruction, it is far smaller. **Not the size of a number
# decides, but whether the chip has an instruction for it.**
#
# Does it fit?

# %%
for profile in f103.values():
    print(profile.fit, "\n")

# %% [markdown]
# Look again at what TFLite Micro said about its arena above: from float32 to int8 the *tensors*
# shrank exactly four times, the *book-keeping* did not shrink at all: it holds structures for each
# tensor and op whatever their type, and integers need their rescaling factors on top. (It is larger
# here than on the chip: pointers take 8 bytes on this machine, 4 there.) How small the tensors can
# get is the exercise.

# %% [markdown] part="exercise"
# ## Exercise: which bytes are alive?
#
# An activation needs SRAM from the op that writes it to the last op that reads it; then its place can
# be used again. Weights are constants and stay in flash. The **peak** is the largest number of
# bytes alive during one op: no memory planner can do with less, unless an op may write over what it reads
# ([Inside the engine](../notebooks/02_inside_the_engine.ipynb) has that trick).
#
# For example, the int8 network's second convolution reads 8 · 8 · 16 = 1,024 bytes and writes as many:
# 2,048 bytes are alive. The loop below notes at which steps each tensor is touched; write the rest,
# about five lines. `graph.tensors[i]` has `.nbytes` and `.is_const`. Think of a residual block, whose
# input is needed again at its end.


# %% exercise="peak_sram"
def peak_sram(graph):
    """Largest number of bytes of activations that are alive during one op."""
    touched = {}
    for step, op in enumerate(graph.ops):
        for i in (*op.inputs, *op.outputs):
            if i is not None:
                touched.setdefault(i, []).append(step)
    ### BEGIN SOLUTION
    peak = 0
    for step in range(len(graph.ops)):
        alive = [i for i, steps in touched.items() if min(steps) <= step <= max(steps)]
        sizes = [graph.tensors[i].nbytes for i in alive if not graph.tensors[i].is_const]
        peak = max(peak, sum(sizes))
    return peak
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="peak_sram" points=5
### BEGIN HIDDEN TESTS
course.check("peak_sram", peak_sram).require()
assert peak_sram(models["cnn int8"]) == 2048
### END HIDDEN TESTS
course.check("peak_sram", peak_sram)

# %% [markdown]
# ## Fit a budget
#
# The chip has other work to do: the network gets **24 KiB of flash** and **20 ms**. Where do the bytes
# of the int8 CNN sit?

# %%
BUDGET_FLASH, BUDGET_MS = 24 * 1024, 20


def against_budget(name):
    profile = tk.profile(models[name], "stm32f103")
    largest = max(profile.layers, key=lambda layer: layer.flash_bytes or 0)
    share = largest.flash_bytes / profile.flash_bytes
    fits = profile.flash_bytes <= BUDGET_FLASH and profile.estimated_ms <= BUDGET_MS
    print(
        f"{name:10} {profile.flash_bytes:7,} B flash, {profile.estimated_ms:5.1f} ms [modelled]: "
        f"{'fits' if fits else 'too much'}; largest layer {largest.name} ({share:.0%} of the flash)"
    )


against_budget("cnn int8")
against_budget("slim int8")

# %% [markdown]
# Half of the CNN's flash is one matrix: `Flatten` hands 4 · 4 · 32 = 512 numbers to a dense layer
# of 32, which makes 512 · 32 = 16,384 weights, a byte each. `slim` averages each channel instead
# (no weights at all) and splits its convolutions into a depthwise and a pointwise one. Its accuracy
# stands above, measured. A profile tells *where* to cut; the bits alone would not have been enough.

# %% [markdown] part="further"
# ## Going further
#
# - Change `slim` and run the notebook again: what is the smallest flash at 90 % on the test images?
#   (It needs TensorFlow: `pip install 'tinyml-kit[tensorflow]'`.)
# - Try `int16` activations: `Job(cnn, x[:200], "int16", ...)`. What do accuracy and SRAM do?
# - `tinykit boards` lists boards down to a Cortex-M0+; `tinykit profile FILE.tflite --target samd21`.
# - [From a notebook to a chip](../notebooks/01_from_notebook_to_chip.ipynb) does the same from PyTorch,
#   with pruning and quantization-aware training.
# - Banbury et al., *MLPerf Tiny Benchmark*, NeurIPS 2021 (arXiv:2106.07597): four networks on which
#   the field compares itself.
