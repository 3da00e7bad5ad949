# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Compute where FedAvg ends when devices disagree, and see what SCAFFOLD and FedDyn remember so that they end elsewhere
#     minutes: 50
#     prerequisites:
#       - the lesson on averaging models
#       - gradients and Hessians of quadratic functions
#       - no hardware
#     teaches:
#       - "Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, ICML 2020, arXiv:1910.06378"
#       - "Acar et al., Federated Learning Based on Dynamic Regularization, ICLR 2021, arXiv:2111.04263"
#       - "Li et al., Federated Optimization in Heterogeneous Networks (FedProx), MLSys 2020, arXiv:1812.06127"
# ---

# %% [markdown]
# # Client drift

# %% [markdown]
# Devices that hold different data want different models. FedAvg lets each of them walk alone for $K$ steps and takes the mean of where they
# arrive. **One question: is that where the best model for all of them is, and if not, what has to be added?**
#
# Two devices with two parameters are enough to ask it, and everything about them can be computed exactly. Device $i$ has the loss
#
# $$f_i(w) = \tfrac12\,(w - a_i)^\top H_i\,(w - a_i).$$
#
# Its own optimum is $a_i$; the curvature $H_i$ says how much it cares. Device 0 cares for $w_1$, device 1 for $w_2$. Wanted is the $w$ where the
# mean of the two losses is least.

# %%
import numpy as np

import tinykit as tk
from tinykit import course
from tinykit import federated as fl
from tinykit.course.drift import LR, START, STRENGTH
from tinykit.course.drift import TWO as two
from tinykit.data.partitions import Dirichlet, partition
from tinykit.explore.figure_view import FigureView
from tinykit.plots.rounds import ByRound, by_round

middle = two.optima.mean(axis=0)
reach = np.linalg.norm(middle - two.optimum)
for i in range(len(two)):
    print(f"device {i}: own optimum {two.optima[i]}, curvature {np.diag(two.hessians[i])}")
print(f"optimum of both {two.optimum.round(3)}")
print(f"mean of their own optima {middle}, {reach:.3f} away from it")

# %% [markdown] part="predict"
# ## Predict
#
# Nothing is random here: every step sees all data of its device, both devices take part in every round, and the losses are as convex as can be. Each
# device does 20 steps of size 0.1 a round. **After very many rounds, how far from the optimum is FedAvg's shared model?** Take the distance
# between the optimum and the mean of the devices' own optima as 1.

# %%
prediction = course.predict(
    "In the end FedAvg is at a distance of",
    {
        "0: it converges to the optimum": 0.0,
        "about 0.1": 0.1,
        "about 0.4": 0.4,
        "1: at the mean of the devices' own optima": 1.0,
    },
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Every small dot on the left is a local step, every square a shared model. Begin with FedAvg and 20 local steps, then change the steps: 1, 5, 50. What
# becomes faster, and what worse? Then the other algorithms with both devices, and last, with one device a round, drawn at random.

# %%
prediction.gate(lambda: course.DriftExplorer().view(algorithm="fedavg", steps=20))

# %% [markdown] part="compare"
# ## Compare

# %%
end = two.fixed_point(20, LR)
off = np.linalg.norm(end - two.optimum)
prediction.compare(
    off / reach,
    f"It stops at {end.round(3)}; the optimum is {two.optimum.round(3)}. More rounds change nothing.",
)

# %% [markdown] part="explain"
# ## Explain: what FedAvg solves instead
#
# Start at the optimum. There the two gradients are not 0; they cancel. One step each, and the mean stays where it is. But after its first step a device
# is elsewhere, its gradient has changed, and the two no longer cancel. The kit's own FedAvg, on these devices, one round from the optimum:


# %%
def run(strategy, rounds, *, start=START, steps=20, lr=LR, cohort=2):
    """The kit's simulation of the two devices, after some rounds."""
    simulation = fl.quadratic_simulation(
        two.hessians, two.optima, strategy, start=start, steps=steps, lr=lr, cohort=cohort
    )
    simulation.run(rounds, progress=False)
    return simulation


def distance(simulation):
    return np.linalg.norm(simulation.weights().numpy() - two.optimum)


for i in range(len(two)):
    print(f"gradient of device {i} at the optimum: {two.gradient(i, two.optimum).round(3)}")
for steps in (1, 2, 20):
    moved = distance(run(fl.FedAvg(), 1, start=two.optimum, steps=steps))
    print(f"{steps:2} local steps from the optimum: the average is {moved:.6f} away from it")

# %% [markdown]
# For quadratics the place where FedAvg comes to rest has a formula. $K$ steps of size $\eta$ take device $i$ from $w$ to
# $a_i + (I - \eta H_i)^K (w - a_i)$, that is, by $-S_i\,(w - a_i)$ with $S_i = I - (I - \eta H_i)^K$. FedAvg rests where these add up to 0:
#
# $$\sum_i S_i\,(w - a_i) = 0, \qquad\text{while the optimum is where}\qquad \sum_i H_i\,(w - a_i) = 0.$$
#
# With $K = 1$, $S_i = \eta H_i$, and both are the same. With many steps $S_i$ becomes $I$, and FedAvg rests at the plain mean of the $a_i$: each device has arrived at its
# own optimum, and how much it cared is forgotten. *FedAvg minimises another function, and the number of local steps chooses which.*

# %%
work = 300  # local steps of a device in all, however they are divided into rounds
print("local steps   rounds   by the formula     the kit's FedAvg   its distance, as a share")
for steps in (1, 2, 5, 10, 20, 50):
    fixed = two.fixed_point(steps, LR)
    simulation = run(fl.FedAvg(), work // steps, steps=steps)
    got = simulation.weights().numpy()
    print(
        f"{steps:11} {work // steps:8}   {fixed.round(3)!s:16}   {got.round(3)!s:16}"
        f" {distance(simulation) / reach:23.3f}"
    )

# %% [markdown]
# Karimireddy et al. (2020) call this **client drift**, and show that it is no matter of noise or of too few devices. What can one do about it?
#
# - **Smaller steps.** What counts is about $K\eta$: with less of it the fixed point is nearer to the optimum, and each round achieves less.
# - **FedProx** (Li et al., 2020) holds devices back by a spring, $+\frac\mu2\lVert\theta - w\rVert^2$. They walk less far; the fixed point is nearer, and still wrong.
#
# Both trade speed for truth:

# %%
print("                          rests at a distance of   after 10 rounds   after 40")
for name, strategy, lr, mu in (
    ("FedAvg", fl.FedAvg(), LR, 0.0),
    ("FedAvg, steps of 0.02", fl.FedAvg(), LR / 5, 0.0),
    ("FedProx, μ = 0.5", fl.FedProx(mu=0.5), LR, 0.5),
    ("FedProx, μ = 5", fl.FedProx(mu=5.0), LR, 5.0),
):
    rest = np.linalg.norm(two.fixed_point(20, lr, mu) - two.optimum)
    simulation = run(strategy, 10, lr=lr)
    early = distance(simulation)
    simulation.run(40, progress=False)
    print(f"{name:25} {rest:22.3f} {early:17.3f} {distance(simulation):10.3f}")

# %% [markdown]
# **SCAFFOLD** (Karimireddy et al., 2020) corrects each step. Every device keeps a *control variate* $c_i$, its guess of its own gradient at the shared model; the server
# keeps their mean $c$ over all $m$ devices, those that are not asked included. A local step goes against
#
# $$g - c_i + c, \qquad\text{and afterwards}\qquad c_i^{+} = c_i - c + \frac{w - w_i}{K\eta}, \qquad c \leftarrow c + \frac1m \sum_{i \text{ active}} (c_i^{+} - c_i).$$
#
# The fraction is the mean direction of the $K$ steps; take the correction back out, and it is the mean gradient. At the optimum, with $c_i = \nabla f_i$, $c = 0$ and no device moves at all.
#
# **FedDyn** (Acar et al., 2021) changes the loss that a device minimises, so that the optimum of all becomes a stationary point for each:
#
# $$f_i(\theta) - \langle\lambda_i, \theta\rangle + \frac\alpha2 \lVert\theta - w\rVert^2, \qquad \lambda_i \leftarrow \lambda_i - \alpha\,(w_i - w).$$
#
# Where $w_i = w$ the derivative says $\lambda_i = \nabla f_i(w)$. The server sends out the mean of the answers minus $\frac1\alpha$ times the mean of all $\lambda_i$.
#
# One subtracts control variates, the other regularises. What do their devices remember in the end?

# %%
scaffold = run(fl.Scaffold(), 40)
feddyn = run(fl.FedDyn(alpha=STRENGTH), 40)
print(
    f"distance from the optimum: SCAFFOLD {distance(scaffold):.0e}, FedDyn {distance(feddyn):.0e}"
)
print("device   gradient at the optimum   SCAFFOLD's control variate   FedDyn's λ")
for i in range(len(two)):
    control = scaffold.memories.get(i, {})["control"].numpy()
    dual = feddyn.memories.get(i, {})["dual"].numpy()
    exact = two.gradient(i, two.optimum)
    print(f"{i:6}   {exact.round(4)!s:23}   {control.round(4)!s:26}   {dual.round(4)}")

# %% [markdown]
# The same vector. Both algorithms learn, besides the model, *by how much each device disagrees* at the optimum, and take it out. That is the whole difference
# from FedAvg; the distances are what float32 can tell apart.
#
# **When not all take part** it matters more. With one device a round there is nothing left to average, and FedAvg's model belongs to whoever came last:

# %%
print("one device a round: distance from the optimum by round")
counted = (1, 5, 10, 20, 40, 80)
print("            " + "".join(f"{r:>9}" for r in counted))
for name, strategy in (
    ("FedAvg", fl.FedAvg()),
    ("FedProx", fl.FedProx(mu=STRENGTH)),
    ("SCAFFOLD", fl.Scaffold()),
    ("FedDyn", fl.FedDyn(alpha=STRENGTH)),
):
    simulation, found = run(strategy, 0, cohort=1), []
    for rounds in counted:
        simulation.run(rounds, progress=False)
        found.append(distance(simulation))
    print(f"{name:12}" + "".join(f"{d:9.1e}" for d in found))

# %% [markdown]
# A device that is not asked keeps what it remembers, and its part of the server's mean stays in force: the absent one is represented. (Acar et al. prove that FedDyn converges
# so for convex, smooth losses, if devices minimise their changed loss exactly; here 20 steps are near enough.)
#
# **Digits.** Fifty devices with 20 images each, a few classes on each of them, ten take part in a round. No formula now, and noise from minibatches on top. All
# with the same step size.

# %%
data = tk.data.load("digits")
local = fl.Local(steps=20, batch=10, lr=0.3)
strategies = {
    "FedAvg": fl.FedAvg(),
    "SCAFFOLD": fl.Scaffold(recover=True),
    "FedDyn": fl.FedDyn(alpha=0.1),
}


def digits(strategy, seed, rounds=20):
    return fl.simulate(
        tk.zoo.mlp(data.spec, hidden=(64,), seed=seed),
        partition(data, Dirichlet(0.1), devices=50, samples=20, seed=seed),
        strategy,
        rounds,
        local=local,
        cohort=10,
        test=data.test,
        seed=seed,
    )


ran = {name: [digits(s, seed) for seed in range(3)] for name, s in strategies.items()}


# %%
def curve(name, of):
    values = np.array([[of(row) for row in simulation.history] for simulation in ran[name]])
    return ByRound(name, range(1, values.shape[1] + 1), values)


said = "measured; mean and range of 3 seeds"
shown = FigureView()
shown.show(
    {
        "accuracy": by_round(
            [curve(name, lambda row: row.accuracy) for name in ran],
            title="Digits, Dirichlet(0.1), 10 of 50 devices a round", subtitle=said,
            unit="accuracy on the test split in %", scale=100, goal=90, y_range=(0, 103),
        ),
        "drift": by_round(
            [curve(name, lambda row: row.drift) for name in ran],
            title="How far apart the models of a round end", subtitle=said,
            unit="spread / length of an update", y_range=(0, 1.1),
        ),
    },
    "; ".join(
        f"{name}: {np.mean([s.history[-1].accuracy for s in sims]):.1%} after the last round"
        for name, sims in ran.items()
    ),
    1,
)  # fmt: skip
shown

# %% [markdown]
# A round is not the price. What travels is: the model to the device and back, and with SCAFFOLD the control variates too. As published a device sends two vectors; but the server
# can work out the second from the model that it gets, as it knows $w$, $K$, $\eta$ and $c$ (`recover=True`, run here; the algorithm is the same, and so are its rounds). Counted, for 90 % of the test images:

# %%
variants = {**ran, "SCAFFOLD, as published": ran["SCAFFOLD"]}
print("                          vectors a device and round   rounds to 90 %   vectors in all")
for name, sims in variants.items():
    rounds = [simulation.history.rounds_to(0.9) for simulation in sims]
    size = 4 * sims[0].setting.net.size
    vectors = (sims[0].bytes_down + sims[0].bytes_up) // size + (name not in ran)
    total = [None if r is None else 10 * r * vectors for r in rounds]
    cells = [", ".join("–" if v is None else str(v) for v in row) for row in (rounds, total)]
    print(f"{name:25} {vectors:27} {cells[0]:>16} {cells[1]:>16}")

# %% [markdown]
# Both corrections save rounds, in each of the three runs. SCAFFOLD as published pays for that with more vectors than FedAvg needs; with `recover` it is about even. FedDyn's correction
# never leaves the device, and what it saves in rounds is saved in vectors. And look at the figure on drift: **devices end about as far apart as before.** They still see different digits, and walk
# towards them. What is corrected is not that they part, but where the mean of their ways leads.

# %% [markdown] part="exercise"
# ## Exercise: SCAFFOLD's device
#
# Write what a device does, in the kit's own terms. `device.start` is the model $w$ that it was sent, `device.memory["control"]` its $c_i$, `device.shared["control"]` the server's
# $c$, `device.steps` is $K$ and `device.lr` $\eta$. `device.sgd(direction)` does the local steps and returns the model; each step goes against
# `direction(w, gradient)`. Return `fl.Reply(model, memory, sent)`, with two dicts: the new control variate to keep, and its *change* to send, both called `"control"`. Five lines.


# %% exercise="scaffold_client"
def scaffold_client(device):
    """device: fl.Device; returns fl.Reply(model, {"control": ...}, {"control": ...})"""
    ### BEGIN SOLUTION
    own, everyone = device.memory["control"], device.shared["control"]
    model = device.sgd(lambda w, gradient: gradient - own + everyone)
    mean_direction = (device.start - model) / (device.steps * device.lr)
    control = own - everyone + mean_direction
    return fl.Reply(model, {"control": control}, {"control": control - own})
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself

# %% check="scaffold_client" points=5
### BEGIN HIDDEN TESTS
course.check("scaffold_client", scaffold_client).require()
### END HIDDEN TESTS
course.check("scaffold_client", scaffold_client)

# %% [markdown]
# A strategy is such a function and what the server makes of the replies. With yours in the place of the kit's, the fifty devices learn digits again:


# %%
class Mine(fl.Scaffold):
    def client(self, device):
        return scaffold_client(device)


try:
    mine, kits = digits(Mine(), 0, rounds=8), digits(fl.Scaffold(), 0, rounds=8)
    gap = (mine.weights() - kits.weights()).abs().max().item()
    print(f"8 rounds: yours {mine.accuracy():.1%}, the kit's {kits.accuracy():.1%}; "
          f"parameters differ by {gap:.0e} at most")  # fmt: skip
except (NotImplementedError, fl.ClientError) as error:
    written = "not written yet" not in str(error)
    print(error if written else "SCAFFOLD's device has to be written first.")

# %% [markdown] part="further"
# ## Going further
#
# - Write FedDyn's device in the same way: `device.sgd(lambda w, g: g - dual + alpha * (w - device.start))`, then the new λ. Where does a wrong sign of λ lead the two devices?
# - Give device 1 more weight: `fl.FedAvg` counts examples, `fl.Scaffold` and `fl.FedDyn` count devices alike. Which optimum does each of them seek on devices of unequal size?
# - Try `fl.FedDyn(alpha=0.01)` and `alpha=1` on digits. What goes wrong on either side?
# - `fl.Local(steps=20, lr=0.1)`: how much of FedDyn's lead was FedAvg's step size?
# - Back to [averaging models](08_federated_averaging.ipynb): with one class a device, do the corrections help?
