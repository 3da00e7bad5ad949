# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Decide between one model for all devices and one that each device customises, see what learning together is worth when devices contradict one another, and write the customisation by prototypes
#     minutes: 45
#     prerequisites:
#       - federated averaging (the lessons on federated learning before this one)
#       - PyTorch; what the features before the last layer are
#       - no hardware
#     teaches:
#       - "Acar, Zhao, Zhu, Matas, Mattina, Whatmough, Saligrama, Debiasing Model Updates for Improving Personalized Federated Training, ICML 2021"
#       - "Fallah, Mokhtari, Ozdaglar, Personalized Federated Learning: A Meta-Learning Approach, NeurIPS 2020, arXiv:2002.07948"
#       - "Finn, Abbeel, Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017, arXiv:1703.03400"
#       - "Snell, Swersky, Zemel, Prototypical Networks for Few-shot Learning, NeurIPS 2017, arXiv:1703.05175"
# ---

# %% [markdown]
# # One model, or one that each device customises?

# %% [markdown]
# A hundred people teach their devices a few signs each, and what one calls "left" is "stop" for another. Nobody
# sends examples anywhere. Acar et al. (2021) ask what such devices can learn *together*.
#
# **One question: should all devices share one model, or a model that each of them makes its own?**
#
# A hundred devices hold 16 digits each, of three to five classes; twelve to learn from, four to be tested with.
# In one federation all call a digit the same; in the other each device has *labels of its own*.

# %%
import numpy as np
import torch

import tinykit as tk
from tinykit import course
from tinykit import federated as fl
from tinykit.course.personal import METHODS, OWN, PersonalTable
from tinykit.data.partitions import FewClasses, PermutedLabels, partition
from tinykit.data.types import Split
from tinykit.explore.figure_view import FigureView

digits = tk.data.load("digits")
parts = (digits.train, digits.val, digits.test)  # all of them: the tests are the devices' own
pool = Split(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))
few = FewClasses((3, 5))
federations = {
    name: partition(pool, how, devices=100, samples=16, test=0.25, seed=0, spec=digits.spec)
    for name, how in {"same labels": few, "own labels": PermutedLabels(over=few)}.items()
}
same, own = federations.values()

shown = FigureView()
shown.show({"labels": tk.plots.partition(own)}, "What each device calls what it holds.", 1)
shown

# %% [markdown]
# What does a device reach that learns from its twelve examples alone? (A network of two hidden layers of 64, 200 steps
# of gradient descent; *accuracy* is here always the mean over devices of the accuracy on their own test examples.)


# %%
def mean(accuracies):
    values = list(accuracies.values()) if isinstance(accuracies, dict) else accuracies
    return sum(values) / len(values)


untrained = fl.Simulation(tk.zoo.mlp(digits.spec, hidden=(64, 64), seed=0), own, seed=0)
alone = mean(untrained.device_accuracy(personalise=fl.MAML(steps=200, lr=0.3)))
tests = sum(len(part) for part in own.test)
error = np.sqrt(alone * (1 - alone) / tests)
print(f"alone: {alone:.1%} (standard error about {error:.1%}, from {tests} test examples)")

# %% [markdown] part="predict"
# ## Predict
#
# The devices with labels of their own now learn together, by the best method that you will meet below: 20 of them a round, 40
# rounds. **What accuracy do they reach?**

# %%
prediction = course.predict(
    "Learning together, every device with labels of its own:",
    {
        "about 10 %: they contradict one another": 10,
        "about 50 %: something is lost": 50,
        "as alone, 87 %: nobody can learn from the others": 87,
        "about 95 %: more than half of the errors disappear": 95,
    },
    unit="%",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Measured beforehand: nine methods on devices with labels of their own. Begin with *customised by nothing*; these models are
# fine-tuned on each device at the end, by five steps of gradient descent. Then MAML, then prototypes. How do the three
# lines of a figure change places? What if only one device in a hundred is asked in each round?

# %%
prediction.gate(lambda: course.PersonalExplorer().view())

# %% [markdown] part="compare"
# ## Compare
#
# One run, here:

# %%
local = fl.Local(steps=20, batch=10, lr=0.1, decay=0.997, weight_decay=1e-3, clip=10)


def learn(strategy, federation, rounds=40):
    simulation = fl.Simulation(
        tk.zoo.mlp(digits.spec, hidden=(64, 64), seed=0),
        federation,
        strategy,
        local=local,
        cohort=0.2,
        seed=0,
    )
    simulation.run(rounds, progress=False)
    return simulation


pfldyn = learn(fl.FedDyn(alpha=0.1, customise=fl.Prototypes()), own)
together = mean(pfldyn.device_accuracy())
prediction.compare(
    100 * together,
    f"Alone it was {alone:.1%}: of the errors, {1 - (1 - together) / (1 - alone):.0%} are gone.",
)

# %% [markdown] part="explain"
# ## Explain: what is shared is not the answer
#
# **One model for all cannot work.** Suppose it reads digits without an error. It has to give all devices the same answer to the same
# image; the best it can do is the label that most of them use. Counted, for these hundred devices:

# %%
for name, federation in federations.items():
    counts = federation.counts(federation.holdings())  # devices × their own labels
    right = held = 0
    for digit in range(10):
        said = np.zeros(10)
        for device in range(len(federation)):
            maps = federation.label_maps
            label = digit if maps is None else maps[device, digit]
            said[label] += counts[device, label]
        right, held = right + said.max(), held + said.sum()
    print(f"{name}: a perfect reader that answers all devices alike is right {right / held:.0%}")

# %% [markdown]
# FedAvg looks for such a model: it minimises $\frac{1}{m}\sum_i f_i(w)$, with $f_i$ the loss on device $i$. Below it learns in both federations. Then each
# device customises what came out, in two ways, and so it does with a network that was never trained:
#
# - *fine-tuned*: 50 steps of gradient descent on its twelve examples;
# - *prototypes*: the last layer is thrown away; an image is called what the nearest class mean is called. With $h(x)$ the
#   features before the last layer and $S_k$ the device's own examples of class $k$,
#
# $$c_k = \frac{1}{|S_k|} \sum_{x \in S_k} h(x), \qquad \mathrm{logit}_k(x) = -\lVert h(x) - c_k \rVert^2.$$

# %%
averaged = {name: learn(fl.FedAvg(), federation) for name, federation in federations.items()}
ways = {
    "as it is": fl.Identity(),
    "fine-tuned": fl.MAML(steps=50, lr=0.3),
    "prototypes": fl.Prototypes(),
}
print(f"{'':30}" + "".join(f"{way:>12}" for way in ways))
models = {"untrained": untrained} | {f"FedAvg, {name}": s for name, s in averaged.items()}
found = {
    name: {way: mean(s.device_accuracy(personalise=how)) for way, how in ways.items()}
    for name, s in models.items()
}
for name, row in found.items():
    print(f"{name:30}" + "".join(f"{row[way]:12.1%}" for way in ways))
print(f"{'alone':30}{'':12}{alone:12.1%}")

# %% [markdown]
# **The surprise.** With labels of their own, the model that FedAvg learns *answers* hardly better than a guess, and yet
# it *knows* something: its features tell digits apart far better than those of the untrained network, as prototypes show, and
# fine-tuning it beats starting alone. A hundred devices that contradict one another about names agree about what a digit looks like.
# The last layer holds the names; what comes before it can be shared.
#
# **So train what will be used.** If each device customises the model by $T_i$ anyway, let it minimise
#
# $$\frac{1}{m} \sum_{i=1}^m f_i\bigl(T_i(w)\bigr), \qquad T_i(w) = w - \eta \nabla f_i(w) \text{ (MAML, one step)},$$
#
# or with prototypes in $T_i$. Then $w$ is a *meta-model*: nobody uses it as it is. The gradient goes through $T_i$; for MAML
# that is $(I - \eta \nabla^2 f_i(w))\, \nabla f_i(T_i(w))$, with a second derivative, which PyTorch finds but which costs time. In this kit a
# strategy takes the customisation as an argument: `fl.FedAvg(customise=fl.MAML(steps=3, lr=0.3))` is Per-FedAvg (Fallah et
# al., 2020).
#
# Prototypes do not know what a class is called. So it should not matter to them whether names agree:

# %%
prototypes = {
    name: learn(fl.FedAvg(customise=fl.Prototypes()), federation)
    for name, federation in federations.items()
}
for name, simulation in prototypes.items():
    told = f"{mean(simulation.device_accuracy()):.2%}"
    print(
        f"FedAvg with prototypes, {name}: {told}; training loss {simulation.history[-1].loss:.4f}"
    )
weights = [simulation.weights() for simulation in prototypes.values()]
apart = float((weights[0] - weights[1]).norm() / weights[0].norm())
print(f"distance of the two models: {apart:.1e} of their length")

# %% [markdown]
# **Debiasing.** In its local steps a device drifts towards its own optimum, and the mean of such models is not the optimum of the mean.
# SCAFFOLD and FedDyn correct every device's gradient for that ([Client drift](09_client_drift.ipynb)). Acar et al. do
# the same with $f_i(T_i(w))$ in place of $f_i(w)$ and call it **PFLScaf** and **PFLDyn**: here `fl.Scaffold(customise=...)` and `fl.FedDyn(alpha,
# customise=...)`. All nine methods, from the table; the last model is customised in the best of the ways tried, chosen on the examples that it is reported on, for
# all methods alike:

# %%
table = PersonalTable()
print(f"{len(table.alone)} seeds; alone {mean(table.alone):.1%}")
print("mean accuracy ± half the distance between extremes, by share of devices asked a round")
print(f"{'':21}" + "".join(f"{share:>17.0%}" for share in table.shares))
for method in [m for methods in METHODS.values() for m in methods]:
    cells = []
    for share in table.shares:
        way, values = table.best(method, share)
        mark = " " if way == OWN else "*"
        cells.append(f"{mean(values):10.1%} ±{(max(values) - min(values)) / 2:4.1%}{mark}")
    print(f"{method:21}" + "".join(cells))
print("* fine-tuned after training")

# %% [markdown]
# What does debiasing win? In points, and in rounds until 90 % as the method customises, without further fine-tuning; the rounds were looked at eight
# times a run.

# %%
goal = 0.9
print(f"{'against averaging':21} {'asked':>6}   points won   seeds ahead   rounds to {goal:.0%}")
for methods in METHODS.values():
    for method in methods[1:]:
        for share in table.shares:
            theirs, its = (table.best(m, share)[1] for m in (methods[0], method))
            ahead = sum(b > a for a, b in zip(theirs, its, strict=True))
            took = [table.rounds_to(m, share, goal) or "–" for m in (methods[0], method)]
            print(
                f"{method:21} {share:6.0%} {100 * (mean(its) - mean(theirs)):+12.1f} {ahead:8} of "
                f"{len(its)}   {took[0]:>9} → {took[1]}"
            )

# %% [markdown]
# - **Fine-tuned FedAvg is a strong baseline**, ahead of learning alone at all three shares. Training through the customisation is ahead of that, and prototypes need
#   the fewest rounds.
# - **Debiasing pays with customisation, if enough devices answer.** PFLDyn wins most when all are asked: with prototypes it is ahead with every seed, with MAML it
#   reaches 90 % where averaging does not. At one device in ten the gains are a point or less, and with a single device a round there
#   is no gain left beyond the spread of the seeds, with MAML a loss: each is asked about four times in 400 rounds, and what SCAFFOLD and FedDyn remember of it is a hundred rounds old.
# - **Without customisation debiasing does harm**, most with a single device a round. A possible reason: the model that minimises $\frac{1}{m}\sum f_i$ is of no use here, and who comes nearer to it
#   has won nothing. FedAvg's very bias, a mean of models that have each been fitted to one device, is what meta-learning does: Jiang et al.
#   (2019, arXiv:1909.12488) show it to be close to the algorithm Reptile.
#
# This is a small network with few examples. Acar et al. find the gains of debiasing on larger sets of images, CIFAR-10 among them, in longer
# training.

# %% [markdown] part="exercise"
# ## Exercise: prototypes
#
# Write the customisation. `features` (n, d) belong to the images that are to be named, `own` (m, d) and `labels` (m,) to the device's own
# examples. Return the logits (n, classes): minus the squared distance to the mean of each class, and $-10^6$ for a class of which
# the device holds no example. Take `own` = (0, 0), (2, 0), (5, 5) with `labels` = 0, 0, 1 and three classes: the means are (1, 0) and (5, 5), and for
# the features (1, 2) the logits are $-4$, $-25$ and $-10^6$. About five lines of numpy.


# %% exercise="prototype_logits"
def prototype_logits(features, own, labels, classes):
    """features: float64 (n, d); own: (m, d); labels: int64 (m,); returns float64 (n, classes)"""
    ### BEGIN SOLUTION
    logits = np.full((len(features), classes), -1e6)
    for k in np.unique(labels):
        centre = own[labels == k].mean(axis=0)
        logits[:, k] = -((features - centre) ** 2).sum(axis=1)
    return logits
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="prototype_logits" points=5
### BEGIN HIDDEN TESTS
course.check("prototype_logits", prototype_logits).require()
### END HIDDEN TESTS
course.check("prototype_logits", prototype_logits)

# %% [markdown]
# Your function, on every device, with the features of the model that PFLDyn trained; and with the pixels themselves in place of features.

# %%
meta = pfldyn.model()[:-1]  # without the last layer


def features_of(positions):
    with torch.no_grad():
        return meta(torch.from_numpy(own.pool.x[positions])).double().numpy()


def pixels_of(positions):
    return own.pool.x[positions].reshape(len(positions), -1).astype(float)


def with_mine(of):
    hits = []
    for train, test in zip(own.train, own.test, strict=True):
        logits = prototype_logits(of(test), of(train), own.pool.y[train], 10)
        hits.append(np.mean(logits.argmax(axis=1) == own.pool.y[test]))
    return float(np.mean(hits))


try:
    print(f"yours {with_mine(features_of):.1%}, the kit's {together:.1%}")
    print(f"yours on pixels {with_mine(pixels_of):.1%}, alone {alone:.1%}")
except NotImplementedError:
    print("The logits have to be written first.")

# %% [markdown]
# Class means of pixels do about as well as a network that a device trains alone: with twelve examples there is not much to train. That makes them
# the baseline to beat, and what the other 99 devices contribute is the difference to the features.

# %% [markdown] part="further"
# ## Going further
#
# - Train with `fl.MAML(steps=3, lr=0.3)` as customisation, and with `first_order=True`, which leaves the second derivative out. What is lost, what
#   is won in time?
# - From how many examples a device is a network of its own as good as learning together?
#   (`samples=` of `partition`; `FewClasses(1, ...)` makes the question pointless: why?)
# - Ten people who wear a watch differ by nature, not by permutation: `partition(tk.data.load("watch_imu"), Users())`, from `tinykit.data.partitions`. Does
#   customising help there?
# - `python -m tinykit.explore.sweep personalised` makes the table again.
# - [What a round costs](11_what_a_round_costs.ipynb) asks what all these rounds cost on real devices.
