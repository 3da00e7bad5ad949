# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Train a small network, quantize and prune it, and find out what that saves on a real microcontroller, and what it does not
#     minutes: 45
#     prerequisites:
#       - Python and a little PyTorch
#       - what training and a convolution are
#       - no hardware
#     teaches:
#       - "Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, arXiv:1712.05877"
#       - "Zhang et al., Hello Edge: Keyword Spotting on Microcontrollers, 2017, arXiv:1711.07128 (the DS-CNN)"
# ---

# %% [markdown]
# # From a notebook to a chip

# %% [markdown]
# A microcontroller has a few hundred kilobytes of flash, for the program and its weights, and less
# SRAM, for everything that changes while it runs. Here a network goes all the way to one: trained,
# turned into integers, compiled to C, and run on an emulated Cortex-M4, the core of the board ST
# NUCLEO-F446RE. You need no board.
#
# **One question: an int8 weight has a quarter of a float's bits. Is the program on the chip four times
# smaller?**

# %%
import numpy as np

import tinykit as tk
from tinykit import course, explore

data = tk.data.load("digits")  # 8 × 8 grey values, ten classes
model = tk.zoo.ds_cnn(data.spec, width=0.5)  # a torch.nn.Module
tk.fit(model, data, epochs=12)

# %% [markdown]
# A DS-CNN (Zhang et al., 2017) splits each convolution in two: a *depthwise* one filters each
# channel by itself, a *pointwise* one (1 × 1) mixes them. For 32 channels and 3 × 3 filters that is
# $9 \cdot 32 + 32 \cdot 32$ = 1,312 weights instead of $9 \cdot 32 \cdot 32$ = 9,216.

# %% [markdown] part="predict"
# ## Predict
#
# `tk.to_graph` makes a graph with TFLite's numerics: of floats as it is; of integers when it may
# look at some data (*calibrate*), to learn which range each tensor has. Both are compiled to a
# program for the chip. **How many times smaller is the int8 program?** Commit yourself first: the knobs wait.

# %%
prediction = course.predict(
    "The flash that the whole program takes is, with int8 instead of float32, …",
    {
        "4 times smaller: every weight has a quarter of the bits": 4,
        "3 times smaller": 3,
        "2 times smaller": 2,
        "less than 1.5 times smaller": 1.3,
    },
    unit="×",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Networks of this kind were trained, compressed and measured beforehand; their table ships with the
# script that made it (`tinykit/explore/sweep`). Turn *Weight bits* from float to int 8, then to int 4.
# Then *Width* and *Pruning*. What happens to the **flash** of small networks? What does *Board*
# change, and what not?

# %%
explorer = explore.load("compress-deploy")
print(f"{len(explorer.table.nets)} networks, {len(explorer.table.seeds)} trainings of each")
prediction.gate(lambda: explorer.view(width=0.5, bits=32))

# %% [markdown] part="compare"
# ## Compare
#
# Now your own network. A profile runs the compiled program on the emulated core: instructions
# and bytes are **counted**, milliseconds are **modelled** from them, TFLite Micro's arena is **measured**.

# %%
float_graph = tk.to_graph(model)
int8_graph = tk.to_graph(model, calibrate=data)
float_profile = tk.profile(float_graph, "stm32f446")
int8_profile = tk.profile(int8_graph, "stm32f446")

ratio = float_profile.flash_bytes / int8_profile.flash_bytes
prediction.compare(ratio, "The next cell takes the program apart.")

# %% [markdown] part="explain"
# ## Explain: a program is more than its weights

# %%
pruned = tk.compress(model, data, tk.Prune(0.7, epochs=6))
pruned_graph = tk.to_graph(pruned, calibrate=data)
pruned_profile = tk.profile(pruned_graph, "stm32f446")

graphs = {"float32": float_graph, "int8": int8_graph, "pruned 70 %, int8": pruned_graph}
profiles = {"float32": float_profile, "int8": int8_profile, "pruned 70 %, int8": pruned_profile}
print(
    f"{'':18} {'accuracy':>9} {'flash B':>9} {'weights B':>10} {'rest B':>8} {'instructions':>13}"
)
for name, graph in graphs.items():
    flash = profiles[name].flash_bytes
    print(
        f"{name:18} {tk.evaluate(graph, data):9.1%} {flash:9,} {graph.weight_bytes:10,} "
        f"{flash - graph.weight_bytes:8,} {profiles[name].instructions:13,}"
    )

# %% [markdown]
# The weights did shrink almost four times (not quite: biases stay 32-bit integers). The rest did not:
# it is the code of the layers, and integers need more of it: to rescale, round and clip, with the factors for that; and
# because tinykit writes C for the shape of each integer layer, which takes room and makes it fast (the last column;
# [Inside the engine](02_inside_the_engine.ipynb) shows how). Write the program as
#
# $$\text{flash} = \text{weights} + \text{rest}.$$
#
# Then even without any weights the int8 program could be smaller only by the factor

# %%
rest = int8_profile.flash_bytes - int8_graph.weight_bytes
limit = int8_profile.flash_bytes / rest
print(f"flash / rest = {int8_profile.flash_bytes:,} B / {rest:,} B = {limit:.2f}")

# %% [markdown]
# It is Amdahl's law, for bytes: what you do not touch limits what you gain. For a network of a
# megabyte the rest is nothing, and int8 does bring a factor of four; for one this small, look at the
# code. And pruning: it cuts instructions by a larger factor than flash.
#
# Layer by layer:

# %%
int8_profile

# %% [markdown]
# Are these still the same numbers that TFLite Micro would compute? Bit for bit, on random and on boundary
# inputs: the numpy reference, the C on this machine and the C on the emulated core, each against
# TFLite Micro itself.

# %%
int8_graph.save("digits.tflite")  # any TFLite runtime opens it
try:
    print(tk.verify(int8_graph, samples=10))
except tk.TinykitError as problem:
    print(problem)  # TFLite Micro has builds for Linux on x86-64 only

# %% [markdown] part="exercise"
# ## Exercise: a layer without floats
#
# A stored integer $q$ stands for the real number $r = s\,(q - z)$, with a scale $s$ and a zero point $z$ (Jacob et
# al., 2018, equation 1). For example $s = 0.05$, $z = -10$: the stored 30 means $0.05 \cdot (30 + 10) = 2$.
#
# Put that into $y = \sum_i w_i x_i + b$, with $z_w = 0$ (TFLite's weights are symmetric) and $b$ stored
# with the scale $s_x s_w$:
#
# $$q_y = z_y + \frac{s_x s_w}{s_y} \Big( \sum_i q_{w,i}\,(q_{x,i} - z_x) + q_b \Big).$$
#
# Write the layer, about five lines of numpy. The types are part of the task: the sums need
# room, the result has to fit into int8 again. (On the chip the factor $s_x s_w / s_y$ is an integer
# multiplication and a shift; here it may be a float.)


# %% exercise="int8_layer"
def int8_layer(x, w, bias, x_scale, x_zero, w_scale, y_scale, y_zero):
    """A fully connected layer on stored integers.

    x: int8 (inputs,); w: int8 (outputs, inputs); bias: int32 (outputs,);
    w_scale: float (outputs,), one scale for each output; returns int8 (outputs,)
    """
    ### BEGIN SOLUTION
    shifted = x.astype(np.int32) - x_zero
    sums = w.astype(np.int32) @ shifted + bias
    steps = np.round(sums * (x_scale * w_scale / y_scale)) + y_zero
    return np.clip(steps, -128, 127).astype(np.int8)
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself
#
# Your layer against tinykit's reference interpreter, which computes as TFLite Micro does.

# %% check="int8_layer" points=5
### BEGIN HIDDEN TESTS
course.check("int8_layer", int8_layer).require()
### END HIDDEN TESTS
course.check("int8_layer", int8_layer)

# %% [markdown] part="further"
# ## Going further
#
# - Quantize *while* training: `tk.compress(model, data, tk.Prune(0.7) + tk.Quantize(bits=8, method="qat"))`.
#   When does it beat quantizing afterwards? Try `bits=4`.
# - `tk.profile(int8_graph, "rp2040")`: a Cortex-M0+ has neither a floating-point unit nor a
#   multiply-accumulate instruction. What happens to the instructions of each layer?
# - Drop `digits.tflite`, or any int8 model that you find, on the explorer above.
# - [Deploying to microcontrollers](../tutorials/01_deploying_to_microcontrollers.ipynb) starts from Keras
#   and asks what int8 does to *time*. The answer is another surprise.
# - Lin et al., *MCUNet: Tiny Deep Learning on IoT Devices*, NeurIPS 2020 (arXiv:2007.10319): network and
#   engine designed together, for the same chips.
