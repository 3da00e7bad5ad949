# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: See what the average of models knows that the models do not, why it works, and what label skew takes from local work
#     minutes: 45
#     prerequisites:
#       - PyTorch; gradient descent
#       - no hardware
#     teaches:
#       - "McMahan, Moore, Ramage, Hampson, Agüera y Arcas, Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017, arXiv:1602.05629"
#       - "Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification, 2019, arXiv:1909.06335"
#       - "Luo et al., No Fear of Heterogeneity: Classifier Calibration for Federated Learning with Non-IID Data, NeurIPS 2021, arXiv:2106.05001"
# ---

# %% [markdown]
# # Averaging models

# %% [markdown]
# Ten devices hold images that may not leave them. A server sends all of them one model; each trains it on its own images
# and sends it back; the server takes the *average of the parameters* and begins again. This is federated averaging, FedAvg (McMahan et al.,
# 2017), and there is no obvious reason why it should work: a network is no linear function of its parameters.
#
# **One question: what does averaging do to devices that hold different data?**
#
# The data are digits, a hundred training images a device, a network with one hidden layer. The figures show who holds what:
# with a small α of a Dirichlet distribution each device has a mix of its own; at the extreme, one class each.

# %%
import numpy as np
import torch

import tinykit as tk
from tinykit import course
from tinykit import federated as fl
from tinykit.course.averaging import AveragingTable
from tinykit.data.partitions import IID, Dirichlet, FewClasses, LogNormal, partition
from tinykit.explore.figure_view import FigureView
from tinykit.plots import device_classes

data = tk.data.load("digits")
model = tk.zoo.mlp(data.spec, hidden=(32,), seed=0)
mixed = partition(data, Dirichlet(0.1), devices=10, samples=100, seed=0)
alone = partition(data, FewClasses((1, 1)), devices=10, samples=100, seed=0)
shown = FigureView()
shown.show(
    {
        "mixed": device_classes(mixed, title="Dirichlet, α = 0.1", subtitle="images, counted"),
        "alone": device_classes(alone, title="One class each", subtitle="images, counted"),
    },
    f"{mixed.sizes.sum():,} training images on {len(mixed)} devices, nothing else; the "
    f"{len(data.test)} test images stay on the server.",
    1,
)
shown

# %% [markdown] part="predict"
# ## Predict
#
# Take the extreme, one class each: no device has ever seen more than one digit. In each round everybody trains the shared model for
# 20 steps, alone, and then the ten models are averaged, for 20 rounds. Guessing recognises 10 % of the digits. **How many does
# the average recognise?**

# %%
prediction = course.predict(
    "The average of ten models, each trained on one class, recognises after 20 rounds:",
    {
        "about 10 %: no more than guessing": 10,
        "about 30 %": 30,
        "about 75 %": 75,
        "about 95 %: as if the images were together": 95,
    },
    unit="%",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Everything here was measured beforehand, for three seeds (the table ships with the script that made it). Begin with all classes alike, and find
# how many rounds the average needs for 80 % with 5, 20 and 60 local steps. Then go down the menu to one class. Watch the dashed line,
# the models *before* they are averaged. Which knob stops working, and where?

# %%
prediction.gate(lambda: course.AveragingExplorer().view(skew="IID", steps=20))

# %% [markdown] part="compare"
# ## Compare

# %%
table = AveragingTable()
last = table.shared("1 class", 20)[:, -1]
before = table.own("1 class", 20)[:, -1]
prediction.compare(
    100 * float(last.mean()),
    f"That is the mean of three seeds. Each of the models that were averaged recognises "
    f"{before.mean():.0%}.",
)

# %% [markdown] part="explain"
# ## Explain: what one round does
#
# With $n_i$ images on device $i$, shared model $w$ and local models $w_i$ after $K$ steps of gradient descent from $w$,
#
# $$w \leftarrow \sum_i \frac{n_i}{\sum_j n_j}\, w_i \;=\; w + \sum_i \frac{n_i}{\sum_j n_j}\,(w_i - w).$$
#
# So the server needs nothing of a device but its model. A strategy of the kit may look at what comes back before it averages;
# this one keeps it, and is FedAvg otherwise:

# %%
local = fl.Local(steps=20, batch=10, lr=0.1)
seen = []


class Watched(fl.FedAvg):
    def aggregate(self, server, replies, devices):
        seen.append((server["model"], replies.model))
        return super().aggregate(server, replies, devices)


simulation = fl.Simulation(model, alone, Watched(), local=local, test=data.test, seed=0)
history = simulation.run(20)
start, models = seen[-1]  # of the last round: what was sent, (P,), and what came back, (devices, P)
updates = models - start
print(f"{simulation.setting.net.size:,} parameters; a round moves {history[-1].bytes_down:,} bytes to "
      f"the devices and {history[-1].bytes_up:,} back")  # fmt: skip
print(f"sent out, the model recognises    {tk.evaluate(simulation.module_of(start), data):6.1%}")
found = [tk.evaluate(simulation.module_of(w), data) for w in models]
print(f"the ten that come back            {min(found):6.1%} to {max(found):.1%}")
print(f"their average                     {simulation.accuracy():6.1%}")
print(f"length of an update, mean         {updates.norm(dim=1).mean():6.3f}")
print(f"length of the mean update         {updates.mean(0).norm():6.3f}")

# %% [markdown]
# In 20 steps each device *destroys* the model it was sent: it now calls every image by the one name that was ever right. And the average of
# ten ruined models is as good as what was sent, or a little better. Nearly all of the updates cancels; what is left is progress.
#
# What cancels? A device with one class can lower its loss in a way that needs no image: prefer this class always. If that is all that is wrong
# with a local model, then it should be good again once we subtract from each of its ten outputs that output's mean over
# the test images, and with it the preference:


# %%
x = torch.from_numpy(data.test.x).permute(0, 3, 1, 2)
y = torch.from_numpy(data.test.y)


def outputs(w):
    with torch.no_grad():
        return simulation.module_of(w)(x)


def right(logits):
    return (logits.argmax(1) == y).float().mean().item()


def centred(logits):
    return logits - logits.mean(0)


print("                          as they are   without the preference")
each = [outputs(w) for w in models]
as_are, without = ([right(f(o)) for o in each] for f in (lambda o: o, centred))
print(f"device models, mean     {np.mean(as_are):13.1%}   {np.mean(without):22.1%}")
average = outputs(models.mean(0))
print(f"average of parameters   {right(average):13.1%}   {right(centred(average)):22.1%}")
together = sum(each) / len(each)
print(f"average of outputs      {right(together):13.1%}   {right(centred(together)):22.1%}")

# %% [markdown]
# The models had not forgotten nearly as much as it seemed: **label skew shows in what a model prefers, more than in what it can tell apart.** Luo et al. (2021) found
# in larger networks that the last layer is hit hardest. In the average the ten preferences meet, each for another class, and
# cancel. The third line says more: the average of the *parameters* does about what the average of the ten *outputs* does. So it would be if a network were
# linear in its parameters, and over short distances it nearly is. That they are short is what a shared start buys:

# %%
pair = partition(data, IID(), devices=2, samples=500, seed=0)
long = fl.Local(steps=1000, batch=10, lr=0.1)
came = []
for seed in (0, 1, 2):
    seen.clear()
    fresh = tk.zoo.mlp(data.spec, hidden=(32, 32), seed=seed)
    ran = fl.Simulation(fresh, pair, Watched(), local=long)
    ran.run(1, progress=False)
    came.append(seen[0][1])  # the models of two devices that began alike, (2, P)


def recognises(w):
    return f"{tk.evaluate(ran.module_of(w), data):.1%}"


print("two hidden layers, three starts, two devices with all classes")
print("alone                                  ", *(recognises(w) for two in came for w in two))
print("average of two from the same start     ", *(recognises(two.mean(0)) for two in came))
crossed = [(came[i][0] + came[j][1]) / 2 for i, j in ((0, 1), (1, 2), (2, 0))]
print("average of two from different starts   ", *(recognises(w) for w in crossed))

# %% [markdown]
# Neurons can be exchanged without changing what a network computes. Two networks from different starts solve the problem with their neurons in
# different places, and the mean of two neurons with different tasks has neither. (McMahan et al. show this in their figure 1.)
#
# **More local work.** A round costs a model down and a model up. If devices do more steps in a round, do they need fewer rounds?


# %%
def reached(skew, steps, goal=0.8):
    found = table.rounds_to(goal, skew, steps)
    return ", ".join("–" if n is None else str(n) for n in found)


steps = table.about["steps"]
print("rounds to 80 % of the test images, three seeds; –: not within 20 rounds")
print("each device holds     " + "".join(f"{f'{k} local':>18}" for k in steps))
for skew in table.about["skews"]:
    print(f"{skew:22}" + "".join(f"{reached(skew, k):>18}" for k in steps))
print("\naccuracy after 20 rounds, mean of three seeds")
for skew in table.about["skews"]:
    cells = [f"{table.shared(skew, k)[:, -1].mean():18.1%}" for k in steps]
    print(f"{skew:22}" + "".join(cells))

# %% [markdown]
# With all classes alike (IID), local work replaces communication: this is what FedAvg was made for. **With one class a device it replaces nothing:** from 5 steps
# on, the curves are the same, though 60 steps are twelve times the work. What do devices do with the other steps?

# %%
print("during the last of 20 rounds        mean loss of a step   of all its steps   average then")
for name, how in (("all classes alike", IID()), ("one class", FewClasses((1, 1)))):
    parts = partition(data, how, devices=10, samples=100, seed=0)
    for k in (5, 20):
        few = fl.Local(steps=k, batch=10, lr=0.1)
        ran = fl.Simulation(model, parts, local=few, test=data.test, seed=0, evaluate_every=20)
        row = ran.run(20, progress=False)[-1]
        print(
            f"{name:20} {k:2} steps {row.loss:20.2f} nats {k * row.loss:13.2f} nats {row.accuracy:14.1%}"
        )

# %% [markdown]
# With one class a device is done after a few steps: "always this one" has next to no loss, and so next to no gradient. The losses of 20 steps add up
# to what those of 5 do: the other 15 had none. A device is right about everything it knows, and has nothing to learn until the
# server sends it what the others know. In between, with Dirichlet(0.1), more steps still help, at
# a price that the next lesson is about: the longer devices walk alone, the more their average depends on how far each of them got.

# %% [markdown] part="exercise"
# ## Exercise: one round
#
# Write FedAvg's round for any model. `gradients` has for each device a function from a model to the gradient of its loss, or `None` for a device
# that was asked and did not answer. Each one that answers starts from `w` and does `steps` steps of gradient descent of size `lr`; the result is the average of their models,
# weighted by `examples`. About seven lines of numpy.


# %% exercise="fedavg_round"
def fedavg_round(w, gradients, examples, steps, lr):
    """w: float64 (P,); examples: int64 (devices,); returns the new shared model (P,)"""
    ### BEGIN SOLUTION
    total, weights = np.zeros_like(w), 0
    for gradient, n in zip(gradients, examples, strict=True):
        if gradient is not None:
            mine = w.copy()
            for _ in range(steps):
                mine = mine - lr * gradient(mine)
            total, weights = total + n * mine, weights + n
    return total / weights
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="fedavg_round" points=5
### BEGIN HIDDEN TESTS
course.check("fedavg_round", fedavg_round).require()
### END HIDDEN TESTS
course.check("fedavg_round", fedavg_round)

# %% [markdown]
# Now with the network, on devices of very different sizes, beside the kit's own FedAvg. A batch holds all images of a device here, so
# that nothing is random. The kit computes in float32.

# %%
uneven = partition(data, LogNormal(1.0), devices=5, seed=0)
whole = fl.Local(steps=5, batch=len(data.train), lr=0.5)
kits = fl.Simulation(model, uneven, local=whole, test=data.test)


def gradient_on(device):
    part = uneven.device(device)
    images, labels = torch.from_numpy(part.x).permute(0, 3, 1, 2), torch.from_numpy(part.y)

    def gradient(w):
        network = kits.module_of(torch.from_numpy(w).float())
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        parts = torch.autograd.grad(loss, tuple(network.parameters()))
        return torch.cat([p.flatten() for p in parts]).double().numpy()

    return gradient


try:
    gradients = [gradient_on(d) for d in range(len(uneven))]
    mine = kits.weights().double().numpy()
    for _ in range(10):
        mine = fedavg_round(mine, gradients, uneven.sizes, 5, 0.5)
    kits.run(10)
    yours = tk.evaluate(kits.module_of(torch.from_numpy(mine).float()), data)
    gap = np.abs(mine - kits.weights().numpy()).max()
    print(f"devices with {', '.join(map(str, uneven.sizes))} images, 10 rounds")
    print(
        f"yours {yours:.1%}, the kit's {kits.accuracy():.1%}; parameters differ by {gap:.0e} at most"
    )
except NotImplementedError:
    print("The round has to be written first.")

# %% [markdown] part="further"
# ## Going further
#
# - Let only three devices answer a round: `fl.Simulation(..., cohort=3)`. With one class each, what does the shared model prefer after such a round?
# - Shrink the preference instead of waiting for it to cancel: train with `fl.FedProx(mu=0.1)` on `alone`. What do own models and average recognise now?
# - Sizes with `LogNormal(1.5)`: set `weighted=False` in `fl.FedAvg`. Whom does the model then serve, by `device_accuracy`?
# - `python -m tinykit.explore.sweep averaging` makes the table again; its settings are at the top of
#   `tinykit/explore/sweep/averaging.py`.
# - [Client drift](09_client_drift.ipynb) asks where FedAvg ends when devices disagree, and what SCAFFOLD and FedDyn add.
