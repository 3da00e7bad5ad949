"""The LC algorithm as a scheme: terms, sums, layers by name, what comes out."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.compress import csteps, encoded
from tinykit.compress.lc.scheme import finished
from tinykit.compress.lc.task import weight_names
from tinykit.compress.pruning.cut import masked
from tinykit.compress.terms import Combination
from tinykit.compress.uses import uses
from tinykit.nn.batch_norm import recalibrate
from tinykit.nn.train import accuracy, predict

DATA = tk.data.load("digits")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    model = tk.zoo.mlp(DATA.spec, width=0.2)
    tk.fit(model, DATA, 20, progress=False)
    return model


@pytest.fixture(scope="module")
def conv() -> nn.Module:
    model = tk.zoo.ds_cnn(DATA.spec, width=0.25, depth=2)
    tk.fit(model, DATA, 10, progress=False)
    return model


def quick(what: object, **more: object) -> tk.LC:
    return tk.LC(what, **{"steps": 8, "epochs": 2, "growth": 1.8, **more})  # type: ignore[arg-type]


def test_one_line_of_api(net: nn.Module) -> None:
    scheme = tk.Prune(0.95) + tk.LowRank("auto", alpha=1e-4)
    assert isinstance(scheme, Combination)
    steps = scheme.c_step()
    assert isinstance(steps, csteps.Additive)
    assert steps.steps == (csteps.L0Constraint(0.05), csteps.RankSelection(1e-4))
    small = tk.compress(net, DATA, quick(scheme), progress=False)
    assert 0 < small.compressed.gap < 0.5
    assert tk.evaluate(small, DATA) > 0.8


def test_what_adds_up_and_what_follows() -> None:
    low, code, prune, int8 = tk.LowRank(3), tk.Codebook(2), tk.Prune(0.5), tk.Quantize()
    assert isinstance(low + code, Combination)
    assert isinstance(prune + low, Combination)
    assert isinstance(low + prune, Combination)
    assert (low + prune + code).terms() == (low + (prune + code)).terms()
    for chain in (
        prune + int8,
        low + int8,
        tk.Prune(0.5, structure="channel") + low,
        low + code + int8,
    ):
        assert type(chain).__name__ == "Chain"
    chain = tk.Prune(0.5, structure="channel") + low + code
    assert [type(s).__name__ for s in chain.schemes] == ["Prune", "Combination"]  # type: ignore[attr-defined]


def test_lc_beats_direct_compression_and_its_file_reads_back(net: nn.Module) -> None:
    made = quick(tk.Codebook(2), steps=14).compressed(net, DATA, progress=False)
    direct, last = made.history[0], made.history[-1]
    assert last.score > direct.score
    assert last.gap < 0.1 < direct.gap
    file = made.encode()
    again = {n: t for part in encoded.read(file.data) for n, t in part.tensors().items()}
    for name, p in made.model.named_parameters():
        assert torch.equal(again[name], p.detach()), name
    # one bit a weight, the rest is levels, biases and names
    weights = sum(p.numel() for p in made.model.parameters() if p.ndim > 1)
    biases = sum(4 * p.numel() for p in made.model.parameters() if p.ndim == 1)
    assert weights / 8 * 0.5 < file.total - biases < weights / 8 + 300


def test_the_smaller_network_is_smaller_and_the_same(net: nn.Module) -> None:
    small = tk.compress(net, DATA, quick(tk.LowRank(4)), progress=False)
    same = small.compressed.model
    x = DATA.test.x[:100]
    np.testing.assert_allclose(predict(small, x), predict(same, x), rtol=1e-4, atol=1e-4)
    size = [
        sum(t.nbytes for t in tk.to_graph(m, shape=(8, 8, 1)).tensors if t.is_const)
        for m in (net, small)
    ]
    assert size[1] < 0.6 * size[0]
    graph = tk.to_graph(small, calibrate=DATA)
    assert tk.evaluate(graph, DATA) > tk.evaluate(small, DATA) - 0.03


def test_low_rank_of_a_convolutional_network_leaves_what_is_no_matrix(conv: nn.Module) -> None:
    tasks = quick(tk.LowRank(2)).tasks(conv, DATA)
    depthwise = {
        f"{n}.weight" for n, m in conv.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1
    }
    named = {name for task in tasks for name in task.parameters}
    assert depthwise
    assert not named & depthwise
    small = tk.compress(conv, DATA, quick(tk.LowRank(4)), progress=False)
    x = DATA.test.x[:50]
    np.testing.assert_allclose(
        predict(small, x), predict(small.compressed.model, x), rtol=1e-4, atol=1e-4
    )


def test_macs_count_a_convolution_once_for_each_of_its_pixels(conv: nn.Module) -> None:
    layers = {n: conv.get_submodule(n.rpartition(".")[0]) for n in weight_names(conv)}
    found = uses(conv, layers, torch.zeros(1, 1, 8, 8))
    graph = tk.to_graph(conv, shape=(8, 8, 1))
    macs = sum(p.numel() * found[n] for n, p in conv.named_parameters() if n in found)
    profile = tk.profile(graph, "stm32f446")
    assert macs == sum(row["macs"] or 0 for row in profile.layers)
    (task, *_) = tk.LC(tk.LowRank("auto", alpha=1e-8, cost="macs")).tasks(conv, DATA)
    assert task.step.positions == found[task.parameters[0]]  # type: ignore[attr-defined]


def test_weights_are_counted_as_often_as_they_are_used() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(1, 2, 2, stride=2)
            self.each = nn.Linear(16, 16)
            self.last = nn.Linear(2 * 16 * 16, 10)
            self.idle = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.up(x)  # 8×8 to 16×16
            return self.last(self.each(self.each(y)).flatten(1))

    model = Net()
    layers = dict(model.named_children())
    found = uses(model, layers, torch.zeros(1, 1, 8, 8))
    assert found == {"up": 64, "each": 2 * 2 * 16, "last": 1, "idle": 0}
    assert model.training


def test_frozen_parameters_stay_and_are_not_compressed_silently(net: nn.Module) -> None:
    import copy

    model = copy.deepcopy(net)
    model[3].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    model[5].bias.requires_grad_(False)  # type: ignore[index, union-attr]
    with pytest.raises(tk.TinykitError, match=r"'3\.weight', which is frozen"):
        tk.compress(model, DATA, quick(tk.Codebook(2)), progress=False)
    small = tk.compress(model, DATA, quick({"1": tk.Codebook(2)}), progress=False)
    assert torch.equal(small[3].weight, model[3].weight)  # type: ignore[index]
    assert torch.equal(small[5].bias, model[5].bias)  # type: ignore[index]
    assert not torch.equal(small[3].bias, model[3].bias)  # type: ignore[index]


def test_a_training_of_its_own_makes_pruning_a_step_of_its_own() -> None:
    chain = tk.Prune(0.5, epochs=3) + tk.LowRank(2)
    assert type(chain).__name__ == "Chain"


def test_dead_units_go_without_the_module_saying_its_input(net: nn.Module) -> None:
    import copy

    model = copy.deepcopy(net)
    del model.input_shape
    scheme = quick(tk.Sparsify(keep=0.03), steps=3)
    named, bare = (tk.compress(m, DATA, scheme, progress=False) for m in (net, model))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (net, named, bare)]
    assert sizes[1] == sizes[2] < sizes[0]


def test_layers_by_name(net: nn.Module) -> None:
    made = quick({"1": tk.Codebook(2), "3.weight": tk.LowRank(2)}).compressed(
        net, DATA, progress=False
    )
    assert len(made.model[1].weight.unique()) == 2  # type: ignore[index, union-attr, operator]
    assert torch.linalg.matrix_rank(made.model[3].weight.detach(), atol=1e-4) == 2  # type: ignore[index, union-attr]
    assert len(made.model[5].weight.unique()) > 100  # type: ignore[index, union-attr, operator]


def test_sparse_stays_sparse_when_quantized(net: nn.Module) -> None:
    scheme = quick(tk.Sparsify(keep=0.2)) + tk.Quantize(8, epochs=1)
    small = tk.compress(net, DATA, scheme, progress=False)
    graph = tk.to_graph(small)
    weights = [t.data for t in graph.tensors if t.is_const and t.dtype == "int8"]
    nonzero = sum(int((w != 0).sum()) for w in weights)
    assert nonzero <= 0.2 * sum(p.numel() for p in net.parameters() if p.ndim > 1)


def test_a_run_goes_on_from_its_checkpoint(net: nn.Module, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "lc.pt"
    whole = quick(tk.Codebook(2)).compressed(net, DATA, progress=False)
    halves = quick(tk.Codebook(2), checkpoint=path)
    run = halves.algorithm(net, DATA)
    from tinykit.compress.lc import checkpoint

    run.run(3, progress=False, on_step=lambda r: checkpoint.save(r, path))
    made = halves.compressed(net, DATA, progress=False)
    for a, b in zip(whole.model.parameters(), made.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_batch_norm_is_measured_anew(conv: nn.Module) -> None:
    import copy

    model = copy.deepcopy(conv)
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    before = {n: b.clone() for n, b in model.named_buffers()}
    assert norm.running_mean is not None
    norm.running_mean.fill_(9)
    spoiled = accuracy(model, DATA.test.x, DATA.test.y)
    recalibrate(model, DATA, examples=len(DATA.train), batch=len(DATA.train))
    assert accuracy(model, DATA.test.x, DATA.test.y) > spoiled + 0.2
    # one batch of all images: the statistics are plain means, here of the first layer
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    seen = first(torch.from_numpy(DATA.train.x).permute(0, 3, 1, 2)).detach()
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not model.training
    assert {n for n, _ in model.named_buffers()} == set(before)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tk.LowRank("auto"), "needs alpha"),
        (lambda: tk.LowRank("best"), "'best'"),
        (lambda: tk.LowRank(4, alpha=1.0), "alpha is for"),
        (lambda: tk.LowRank(-1), "rank"),
        (lambda: tk.LowRank("auto", alpha=-1.0), "alpha"),
        (lambda: tk.LowRank(2, shaping=3), "shaping"),
        (lambda: tk.Codebook(0), "k"),
        (lambda: tk.Codebook("trinary"), "scaled-ternary"),
        (lambda: tk.Sparsify(), "one of keep"),
        (lambda: tk.Sparsify(keep=0.1, alpha=1.0), "keep and alpha"),
        (lambda: tk.Sparsify(radius=1.0), "norm='l1'"),
        (lambda: tk.Sparsify(keep=0.1, norm="l2"), "'l2'"),
        (lambda: tk.LC(tk.Quantize()), "LC cannot run"),
        (lambda: tk.LC(tk.Codebook(2), steps=0), "steps"),
        (lambda: tk.LC(tk.Codebook(2), steps=1.5), "steps is 1.5"),
        (lambda: tk.LC(tk.Codebook(2), epochs=1.5), "epochs is 1.5"),
        (lambda: tk.LC(tk.Codebook(2), batch_size=0), "batch_size is 0"),
        (lambda: tk.LC(tk.Codebook(2), mu="small"), "mu is 'small'"),
        (lambda: tk.LC(tk.Codebook(2), mu=float("inf")), "mu is inf"),
        (lambda: tk.LC(tk.Codebook(2), growth=1e300), "beyond float32"),
        (lambda: tk.LC(tk.Codebook(2), checkpoint=5), "checkpoint"),
        (lambda: tk.LC("abc"), "not 'abc'"),
        (lambda: tk.LC(None), "not None"),
        (lambda: tk.LC([tk.Codebook(2)]), "list of Task"),
        (lambda: tk.LC({"1": tk.Quantize()}), "for layer '1'"),
        (lambda: tk.LowRank(2.5), "rank is 2.5"),
        (lambda: tk.LowRank(None), "rank is None"),
        (lambda: tk.LowRank(2) + tk.LowRank(2, shaping=2), "one shaping"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], object], words: str) -> None:
    with pytest.raises(tk.TinykitError, match=words):
        make()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"7": tk.Codebook(2)}, r"'7'; there are: 1, 3, 5"),
        (tk.LowRank(1000), r"1\.weight: rank is 1000"),
        (tk.Sparsify(keep=10**9), "keep"),
    ],
)
def test_what_does_not_fit_the_model_is_said(net: nn.Module, what: object, words: str) -> None:
    with pytest.raises(tk.TinykitError, match=words):
        tk.compress(net, DATA, tk.LC(what), progress=False)  # type: ignore[arg-type]


def test_pruned_weights_are_not_filled_again(net: nn.Module) -> None:
    sparse = masked(net, 0.5, structure="unstructured")
    with pytest.raises(tk.TinykitError, match="holds pruned weights at zero"):
        tk.compress(sparse, DATA, quick(tk.Codebook(2)), progress=False)


class Unusual(nn.Module):
    """What torch.fx cannot trace, and layers that are not split."""

    input_shape = (8, 8, 1)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(1, 4, 3)
        self.first, self.again = nn.Linear(400, 40), nn.Linear(40, 40)
        self.third, self.last = nn.Linear(40, 40), nn.Linear(40, 10)
        self.third.weight = self.again.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x)).flatten(1)
        if not torch.isfinite(x).all():
            raise ValueError
        return self.last(self.third(torch.relu(self.again(torch.relu(self.first(x))))))


def test_what_was_learned_is_kept_where_nothing_can_be_removed() -> None:
    torch.manual_seed(0)
    small = tk.compress(Unusual(), DATA, tk.LC(tk.LowRank(1), steps=1, epochs=1), progress=False)
    assert isinstance(small.conv, nn.ConvTranspose2d)
    assert isinstance(small.first, nn.Sequential)
    # a weight that two layers share is in the file once
    parts = small.compressed.parts()
    assert {n for p in parts for n in p.names} == {n for n, _ in Unusual().named_parameters()}


def test_a_grouped_convolution_by_name_is_refused(conv: nn.Module) -> None:
    name = next(n for n, m in conv.named_modules() if getattr(m, "groups", 1) > 1)
    with pytest.raises(tk.TinykitError, match="grouped convolution"):
        tk.compress(conv, DATA, tk.LC({name: tk.LowRank(1)}), progress=False)


def test_finished_says_what_it_carries(net: nn.Module) -> None:
    made = quick(tk.Codebook(4), steps=1).compressed(net, DATA, progress=False)
    assert finished(made).compressed is made
