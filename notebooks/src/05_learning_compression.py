# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   tinykit:
#     goal: Compress a network by the learning-compression algorithm, write one of its C steps, and see when learning to be compressed pays and when it does not
#     minutes: 50
#     prerequisites:
#       - the lesson "From a notebook to a chip"
#       - gradients, least squares
#       - no hardware
#     teaches:
#       - "Carreira-Perpiñán, Model compression as constrained optimization, with application to neural nets. Part I: general framework, 2017, arXiv:1707.01209"
#       - "Idelbayev and Carreira-Perpiñán, A flexible, extensible software framework for model compression based on the LC algorithm, 2020, arXiv:2005.07786"
#       - "Idelbayev and Carreira-Perpiñán, More general and effective model compression via an additive combination of compressions, ECML PKDD 2021"
#       - "Han, Mao, Dally, Deep Compression, ICLR 2016, arXiv:1510.00149"
# ---

# %% [markdown]
# # Learning compression

# %% [markdown]
# A *codebook* with two levels stores one bit for each weight, and two numbers for each layer. The best two levels
# of a layer are quickly found, and the network is 32 times smaller, biases aside. It need not work any more.
#
# **One question: is it enough to compress a trained network well, or must the network learn to be compressed?**

# %%
import numpy as np
import torch

import tinykit as tk
from tinykit import course, explore
from tinykit.compress.csteps import CStep
from tinykit.compress.csteps.theta import Dense
from tinykit.compress.lc.retrain import retrain
from tinykit.compress.lc.task import Task, weight_names
from tinykit.explore.combine import PUBLISHED, PUBLISHED_REFERENCE
from tinykit.explore.figure_view import FigureView
from tinykit.explore.sweep import lc_digits
from tinykit.plots import plane

digits = tk.data.load("digits")
network = lc_digits.reference(digits, seed=0)  # LeNet300 at a fifth of its width, trained here


def error(model):
    return 100 * (1 - tk.evaluate(model, digits))


print(f"{lc_digits.NETWORK}: test error {error(network):.1f} %")

# %% [markdown] part="predict"
# ## Predict
#
# Each of the three layers gets the two levels that are nearest to its weights, in the sense of least squares: no other two
# are nearer. Nothing is trained. This is *direct compression*. **How large is the test error then?** (Guessing a digit
# is wrong nine times of ten.)

# %%
prediction = course.predict(
    "Test error with two levels a layer, no training:",
    {"about 4 %, as before": 4, "about 10 %": 10, "about 25 %": 25, "above 40 %": 45},
    unit="%",
)
prediction

# %% [markdown] part="explore"
# ## Explore
#
# Each point is a network that was compressed beforehand, by one of three methods. Start with two levels: how far is it from
# *direct* to *LC*? Then try kept weights alone, a rank alone, and sums of them. Where do the three methods differ, and where do
# they come to the same? Which sums are on the front?

# %%
explorer = explore.load("combine")
prediction.gate(lambda: explorer.view())

# %% [markdown] part="compare"
# ## Compare

# %%
scheme = lc_digits.settings(tk.Codebook(2))
run = scheme.algorithm(network, digits)
direct = run.result()
prediction.compare(error(direct.model), "The best levels are not the best network.")

# %% [markdown] part="explain"
# ## Explain: a constraint, two steps
#
# Let $w$ be the weights, $L(w)$ the loss, and $\Delta(\Theta)$ the weights that a compressed form $\Theta$ decompresses to: here
# $\Theta$ holds two levels and a bit for each weight. Direct compression asks for the $\Theta$ nearest to weights that were
# trained without any thought of it. What is wanted is
#
# $$\min_{w,\,\Theta} L(w) \quad\text{subject to}\quad w = \Delta(\Theta).$$
#
# The LC algorithm (Carreira-Perpiñán, 2017) replaces the constraint by a penalty that grows, with $\mu$ from small to
# large, and takes turns:
#
# $$\textbf{L step:}\quad w \leftarrow \arg\min_w\; L(w) + \tfrac{\mu}{2}\,\bigl\|w - \Delta(\Theta) - \lambda/\mu\bigr\|^2$$
# $$\textbf{C step:}\quad \Theta \leftarrow \arg\min_\Theta\; \bigl\|w - \lambda/\mu - \Delta(\Theta)\bigr\|^2$$
# $$\lambda \leftarrow \lambda - \mu\,(w - \Delta(\Theta))$$
#
# The L step is ordinary training with one more term, for any compression. The C step knows neither data nor loss,
# for any network. $\lambda$ remembers in which direction the two keep disagreeing.
#
# Two weights, a loss with a known minimum, and a codebook $\{-c, c\}$: it allows two lines, $w_2 = w_1$ and $w_2 = -w_1$.

# %%
steep, flat = np.array([-0.9, 1.0]), np.array([1.0, 0.9])
# the loss is a valley: its curvature is 10 across (steep), 0.5 along (flat)
H = 10 * np.outer(steep, steep) / (steep @ steep) + 0.5 * np.outer(flat, flat) / (flat @ flat)
optimum = np.array([1.0, 0.15])


def loss(w):
    return 0.5 * (w - optimum) @ H @ (w - optimum)


def binary(w):
    return np.where(w < 0, -1, 1) * np.abs(w).mean()


w, delta, multiplier = optimum, binary(optimum), np.zeros(2)
ws, deltas = [w], [delta]
for mu in 0.5 * 1.5 ** np.arange(12):
    w = np.linalg.solve(H + mu * np.eye(2), H @ optimum + mu * delta + multiplier)  # L step
    delta = binary(w - multiplier / mu)  # C step
    multiplier = multiplier - mu * (w - delta)
    ws.append(w)
    deltas.append(delta)

same = np.ones(2) * (np.ones(2) @ H @ optimum) / (np.ones(2) @ H @ np.ones(2))
print(f"direct compression: {deltas[0].round(3)}, loss {loss(deltas[0]):.3f}")
print(f"then the best c:    {same.round(3)}, loss {loss(same):.3f}")
print(f"LC:                 {deltas[-1].round(3)}, loss {loss(deltas[-1]):.3f}")
view = FigureView(layout={"width": "560px"})  # a square: right angles look right
view.show(
    {
        "plane": plane(
            H, optimum, feasible=[(1, 1), (1, -1)], reach=0.8, losses=(0.05, 0.2, 0.6, 1.8),
            paths={"w": np.array(ws), "Δ(Θ)": np.array(deltas)},
            points={"trained": tuple(optimum), "direct": tuple(deltas[0]), "LC": tuple(deltas[-1])},
            title="w and Δ(Θ) meet at a point that is allowed and cheap",
            subtitle="computed above; direct compression is the nearest allowed point",
            height=620,
        )
    },
    f"w starts at {optimum} and ends at {ws[-1].round(3)}; Δ(Θ) starts at {deltas[0].round(3)}.",
    1,
)  # fmt: skip
view

# %% [markdown]
# Direct compression gives both weights the same sign, since the nearest line is that of equal signs. Training $c$
# afterwards stays on this line. LC goes over to the other: the *codes*, here the signs, are learned as well.
#
# **The network.** The same for three layers of weights, by SGD: $\mu$ starts at 0.001 and grows by half in each of 20 steps.
# The rival is what is usually done: compress directly, then train the levels with the codes held (trained
# quantization, Han et al., 2016), for as many passes over the data. Beside two levels, another compression:
# of each layer the largest tenth of the weights stays, all others are 0.


# %%
def compare(name, scheme, run):
    direct = run.result()
    made = {
        "direct": direct,
        "direct + retraining": retrain(
            direct, scheme.l_step(digits), scheme.steps, lr=lc_digits.RETRAIN_LR, progress=False
        ),
        "LC": run.run(progress=False),
    }
    print(f"{name}\n{'':22}{'test error':>11}{'bytes':>8}")
    for method, small in made.items():
        print(f"{method:22}{error(small.model):9.1f} %{small.encode().total:8,}")
    gaps = [record.gap for record in made["LC"].history]
    print(f"gap of LC: {gaps[0]:.3f} at the start, {gaps[-1]:.3f} at the end\n")
    return made


two = compare("two levels a layer", scheme, run)
sparse = lc_digits.settings(tk.Sparsify(keep=0.1, shared=False))
tenth = compare("a tenth of the weights", sparse, sparse.algorithm(network, digits))

same = [
    float((a.codes == b.codes).float().mean())
    for a, b in zip(two["direct"].thetas, two["LC"].thetas, strict=True)
]
kept = [
    np.isin(a.index, b.index).mean()
    for a, b in zip(tenth["direct"].thetas, tenth["LC"].thetas, strict=True)
]
print("codes that LC left as direct compression had them: ", *(f"{a:5.0%}" for a in same))
print("of the weights that direct compression kept, LC kept", *(f"{a:5.0%}" for a in kept))

# %% [markdown]
# The *gap* is $\|w - \Delta(\Theta)\| / \|w\|$: at the end hardly anything changes when $w$ is set to $\Delta(\Theta)$. Bytes are those
# of a file that is written and read back; the 90 biases are in it as float32. One image of the test set is 0.28 points: a
# difference of two or three images says nothing.
#
# So the network must *learn*, or nothing works. But for two levels most is won by learning the two levels: which weight
# has which matters less in this run, though LC changed some in every layer (the table below has more runs). Which weights *stay* matters: the largest
# tenth is not the best tenth, and retraining cannot choose another.
#
# **C steps have to be exact, or LC minimises something else.** The nearest two levels are a 1-D clustering problem. Lloyd's
# k-means finds a clustering that no single change of levels or codes improves, which need not be the best. On a line, clusters are
# intervals, so that dynamic programming finds the best:
#
# $$D_k(j) = \min_i\; D_{k-1}(i) + \text{cost}(i, j),$$
#
# the least cost of the first $j$ sorted weights in $k$ levels.

# %%
values = np.sort(network[1].weight.detach().numpy().ravel().astype(np.float64))
K = 8


def lloyd(values, levels):
    for _ in range(500):
        codes = np.abs(values[:, None] - levels).argmin(1)
        levels = np.array(
            [values[codes == k].mean() if (codes == k).any() else levels[k] for k in range(K)]
        )
    return ((values - levels[codes]) ** 2).sum()


theta = tk.Codebook(K).c_step()(torch.from_numpy(values).float())
best = float(((torch.from_numpy(values) - theta.decompress()) ** 2).sum())
rng = np.random.default_rng(0)
found = np.array([lloyd(values, rng.choice(values, K, replace=False)) for _ in range(10)])
print(f"layer 1, {len(values):,} weights, {K} levels: least squared distance {best:.4f}")
print(f"k-means from 10 random starts: {100 * (found / best - 1).min():.2f} % to "
      f"{100 * (found / best - 1).max():.2f} % above it")  # fmt: skip

# %% [markdown]
# **Sums.** A weight can be the sum of compressed forms, $w = \Delta_1(\Theta_1) + \Delta_2(\Theta_2) + \dots$ (Idelbayev and
# Carreira-Perpiñán, 2021): a codebook, and a few single weights where a codebook is worst. The C step takes turns: each
# term is given what the others leave. In the kit it is a plus sign, `tk.Codebook(2) + tk.Sparsify(keep=0.03)`. The table that the explorer shows has all of them
# (`compare` made two of its rows again above, for seed 0):

# %%
table = explorer.digits
seeds = len(table.seeds)
print(f"test error in % (training runs: {seeds}; their mean); bytes of the file by LC\n")
print(f"{'sum':38}{'direct':>8}{'retrained':>11}{'LC':>7}{'bytes':>8}")
for knobs in [
    (0.03, 0, 0), (0.1, 0, 0), (0, 4, 0), (0.1, 1, 0), (0, 0, 2), (0.01, 0, 2), (0, 1, 2),
    (0.01, 1, 2), (0, 0, 4), (0, 1, 8),
]:  # fmt: skip
    keep, rank, levels = knobs
    point = explorer.compute({"keep": keep, "rank": rank, "levels": levels}).chosen
    print(f"{point['lc'].scheme:38}{point['direct'].error:8.1f}{point['retrained'].error:11.1f}"
          f"{point['lc'].error:7.1f}{point['lc'].bytes:8,.0f}")  # fmt: skip

kinds = {
    "weights kept alone": [],
    "weights kept and a rank": [],
    "a rank alone": [],
    "with levels": [],
}
for name in table.schemes:
    gain = table.result(name, "retrained").error - table.result(name, "lc").error
    terms = [word for word in ("weights", "rank", "levels") if word in name]
    alone = {"weights": "weights kept alone", "rank": "a rank alone"}.get("".join(terms))
    kind = "with levels" if "levels" in terms else alone or "weights kept and a rank"
    kinds[kind].append(gain)
print(
    f"\n{'points that LC gains':26}{'sums':>6}{'0.5 or more':>13}{'-0.5 or less':>14}{'median':>8}"
)
for kind, gains in kinds.items():
    better, worse = sum(g >= 0.5 for g in gains), sum(g <= -0.5 for g in gains)
    print(f"{kind:26}{len(gains):6}{better:13}{worse:14}{np.median(gains):8.1f}")

# %% [markdown]
# LC gains where weights are kept and no levels help them: *which* they are is its choice. A low rank has no
# codes or places that retraining would have to hold, and both train the same numbers: they come to about the same, or retraining to
# better. With levels both come near the whole network here, and differ by little. Sums of many numbers lose little by
# any method, and direct compression may do. Retraining is also cheaper: it needs no C steps.
#
# **A larger network.** LeNet300 on MNIST, from a table that ships, too, beside what the authors of the method publish
# for it (arXiv:2005.07786). Their network starts from another error than ours, so compare what compression adds.
# The method is theirs, the numbers in the columns before the last are ours. (In *rank selection* the C step chooses each layer's
# rank, at a price $\alpha$ for every number that it keeps.)

# %%
if explorer.mnist is None:
    print("The table of MNIST is not installed: python -m tinykit.explore.sweep lc_mnist")
else:
    whole, gained = explorer.mnist.result("reference", "reference"), []
    print(f"{'':34}{'direct':>8}{'retrained':>11}{'LC':>7}{'bytes':>11}{'LC, published':>15}")
    print(
        f"{'not compressed':34}{whole.error:26.2f}{whole.bytes:11,.0f}{PUBLISHED_REFERENCE:15.2f}"
    )
    for name in explorer.mnist.schemes:
        row = {m: explorer.mnist.result(name, m) for m in ("direct", "retrained", "lc")}
        known = f"{PUBLISHED[name]:.2f}" if name in PUBLISHED else ""
        print(f"{name:34}{row['direct'].error:8.2f}{row['retrained'].error:11.2f}"
              f"{row['lc'].error:7.2f}{row['lc'].bytes:11,.0f}{known:>15}")  # fmt: skip
        gain = row["retrained"].error - row["lc"].error
        if gain > 0.3:
            gained.append(f"{name} ({gain:.1f})")
    print("\npoints that LC gains over retraining, where more than 0.3:", ", ".join(gained))

# %% [markdown]
# **So is it enough to compress well?** Where few numbers or bits are left, no: direct compression fails in both tables. Then the
# network has to learn, and the question is what. Retraining learns the numbers of a form that was chosen
# beforehand; LC learns the choice as well, which pays where the choice matters: *which* weights stay above all, and on MNIST also which
# weight has which of two levels.

# %% [markdown] part="exercise"
# ## Exercise: a C step of your own
#
# Levels $\{-c, 0, c\}$: which weights become 0, and what is $c$? If the $k$ weights of largest magnitude are kept, and $S_k$ is the sum of their
# magnitudes, the squared distance
#
# $$\sum_{i \text{ kept}} (|w_i| - c)^2 + \sum_{i \text{ not kept}} w_i^2$$
#
# is least for $c = S_k / k$, and is then $\sum_i w_i^2 - S_k^2 / k$. So find the $k$ with the largest $S_k^2 / k$: sort, add up, compare. For
# $w = (0.1, -2, 1.6, 0.2, -1.8, 0.05)$: $S_1^2/1 = 4$, $S_2^2/2 = 7.22$, $S_3^2/3 = 9.72$, $S_4^2/4 = 7.84$; so
# $k = 3$, $c = 1.8$. Four to six lines of numpy.


# %% exercise="ternary_step"
def ternary_step(w):
    """w: float64 (n,); returns the nearest array with entries -c, 0, c"""
    ### BEGIN SOLUTION
    largest = np.argsort(-np.abs(w))
    sums = np.cumsum(np.abs(w)[largest])
    k = np.argmax(sums**2 / np.arange(1, len(w) + 1)) + 1
    result = np.zeros(len(w))
    result[largest[:k]] = np.sign(w[largest[:k]]) * sums[k - 1] / k
    return result
    ### END SOLUTION


# %% [markdown] part="check"
# ## Check yourself
#
# Your step against the kit's, on four vectors.

# %% check="ternary_step" points=5
### BEGIN HIDDEN TESTS
course.check("ternary_step", ternary_step).require()
### END HIDDEN TESTS
course.check("ternary_step", ternary_step)

# %% [markdown]
# A C step is all that LC needs to know of a compression. Here it runs with yours.


# %%
class Mine(CStep):
    def __call__(self, x, mu=1.0, previous=None):
        found = ternary_step(x.numpy().astype(np.float64))
        return Dense(tuple(x.shape), torch.from_numpy(found).float())


try:
    tasks = [Task(name, Mine()) for name in weight_names(network)]
    mine = tk.LC(tasks, steps=20, epochs=2, growth=1.5).algorithm(network, digits)
    start = mine.result()
    end = mine.run(progress=False)
    kept = np.mean(
        [(p != 0).float().mean() for p in map(end.model.get_parameter, weight_names(network))]
    )
    print(
        f"three levels by your step: direct {error(start.model):.1f} %, LC {error(end.model):.1f} %;",
        end=" ",
    )
    print(f"{kept:.0%} of the weights are not 0 (mean of the layers)")
except NotImplementedError:
    print("It has to be written first.")

# %% [markdown] part="further"
# ## Going further
#
# - `multipliers="penalty"` in `tk.LC` leaves $\lambda$ out. What happens to the two weights in the plane, and to the network?
# - `tk.LowRank("auto", alpha=1e-4)` learns the rank of each layer. Try several `alpha`: which layer loses its rank first?
# - One cell makes a part of the table again: `lc_digits.methods((0.03, 0, 2), network, digits, 0)`. The table of
#   another seed starts from `lc_digits.reference(digits, seed)`.
# - A codebook makes the file smaller, not the program: no runtime for microcontrollers multiplies with levels.
#   [From a notebook to a chip](01_from_notebook_to_chip.ipynb) shows what a chip stores.
