import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.compress import Chain, Scheme
from tinykit.compress.prune import parameters
from tinykit.compress.pruning import Criterion
from tinykit.data import Dataset, Split
from tinykit.graph import TinykitError
from tinykit.nn import predict, zoo


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: Dataset) -> nn.Module:
    model = tk.zoo.ds_cnn(data.spec)
    tk.fit(model, data, epochs=12)
    return model


def weights(model: nn.Module) -> torch.Tensor:
    kinds = (nn.Conv2d, nn.Linear)
    return torch.cat([m.weight.flatten() for m in model.modules() if isinstance(m, kinds)])


def test_the_name_is_the_room_and_its_verb(data: Dataset) -> None:
    import tinykit.compress

    assert tk.compress is tinykit.compress
    small = tk.compress(tk.zoo.mlp(data.spec), data, tk.Quantize(method="ptq"))
    assert isinstance(small, nn.Module)


def test_pruned_and_quantized(model: nn.Module, data: Dataset) -> None:
    """The README's line: less than a sixth of the bytes at two points at most."""
    before = tk.evaluate(model, data)
    scheme = tk.Prune(0.7, epochs=8) + tk.Quantize(bits=8, epochs=3)
    small = tk.compress(model, data, scheme)
    graph = tk.to_graph(small, calibrate=data)
    assert tk.evaluate(graph, data) >= before - 0.02
    assert graph.weight_bytes < tk.to_graph(model).weight_bytes / 6
    assert {t.dtype for _, t in graph.activations()} == {"int8"}


@pytest.mark.parametrize("amount", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", zoo.__all__)
def test_amount_is_the_share_of_parameters_removed(name: str, amount: float, data: Dataset) -> None:
    whole = getattr(zoo, name)(data.spec)
    small = tk.compress(whole, data.subset(64), tk.Prune(amount, epochs=0, multiple=1))
    left = parameters(small) / parameters(whole)
    assert 1 - amount - 0.06 < left <= 1 - amount
    # really smaller, not masked: the exported graph has fewer numbers, and still ten answers
    ratio = tk.to_graph(small).weight_bytes / tk.to_graph(whole).weight_bytes
    assert ratio == pytest.approx(left, abs=0.05)
    assert predict(small, data.test.x[:3]).shape == (3, 10)


def test_channels_are_multiples_of_four(model: nn.Module, data: Dataset) -> None:
    small = tk.compress(model, data, tk.Prune(0.6, epochs=0))
    assert all(m.out_channels % 4 == 0 for m in small.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("criterion", Criterion.known)
def test_criteria(criterion: str, model: nn.Module, data: Dataset) -> None:
    small = tk.compress(model, data, tk.Prune(0.5, criterion=criterion, epochs=2))
    assert tk.evaluate(small, data) > 0.8


def test_magnitude_removes_the_smallest_channels(data: Dataset) -> None:
    """Channels that were made tiny are the ones that go: outputs stay what they were."""
    model = tk.zoo.ds_cnn(data.spec, depth=1).eval()
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.Conv2d):
                m.weight[32:] *= 1e-6
                if m.weight.shape[1] > 1:
                    m.weight[:, 32:] *= 1e-6
            if isinstance(m, nn.BatchNorm2d):
                m.weight[32:] *= 1e-6
            if isinstance(m, nn.Linear):
                m.weight[:, 32:] *= 1e-6
    small = tk.compress(model, data, tk.Prune(0.45, epochs=0))
    assert parameters(small) <= 0.55 * parameters(model)
    x = data.test.x[:50]
    np.testing.assert_allclose(predict(small, x), predict(model, x), atol=1e-4)


def test_single_weights(model: nn.Module, data: Dataset) -> None:
    scheme = tk.Prune(0.8, structure="unstructured", epochs=2)
    small = tk.compress(model, data, scheme)
    zero = weights(small) == 0
    assert float(zero.float().mean()) == pytest.approx(0.8, abs=0.001)
    assert parameters(small) == parameters(model)
    assert tk.evaluate(small, data) > 0.9
    # those that are zero are those that were smallest, and quantization keeps them zero
    before = weights(model).abs()
    assert before[zero].max() <= before[~zero].min()
    both = tk.compress(small, data, tk.Quantize(epochs=1))
    graph = tk.to_graph(both)
    stored = [graph.tensors[op.inputs[1]] for op in graph.ops if len(op.inputs) == 3]  # type: ignore[index]
    share = np.mean(np.concatenate([t.data.ravel() == 0 for t in stored]))  # type: ignore[union-attr]
    assert share >= float(zero.double().mean())


def test_rounds(model: nn.Module, data: Dataset) -> None:
    small = tk.compress(model, data.subset(200), tk.Prune(0.7, rounds=3, epochs=1, multiple=1))
    assert 0.2 < parameters(small) / parameters(model) <= 0.3


def test_same_seed_same_result_and_input_untouched(model: nn.Module, data: Dataset) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    scheme = tk.Prune(0.6, criterion="random", epochs=1) + tk.Quantize(epochs=1)
    small = data.subset(200)
    one, same, other = (tk.compress(model, small, scheme, seed=s) for s in (0, 0, 1))
    states = [m.state_dict() for m in (one, same, other)]
    tensors = [k for k, v in states[0].items() if isinstance(v, torch.Tensor)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in tensors)
    assert any(not torch.equal(states[0][k], states[2][k]) for k in tensors)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in one.parameters())


def test_nothing_to_remove(model: nn.Module, data: Dataset) -> None:
    small = tk.compress(model, data, tk.Prune(0))
    assert small is not model
    np.testing.assert_array_equal(predict(small, data.test.x), predict(model, data.test.x))


def test_schemes_add_up() -> None:
    prune, quantize = tk.Prune(0.5), tk.Quantize()
    chain = prune + prune + quantize
    assert isinstance(chain, Chain)
    assert chain.schemes == (prune, prune, quantize)
    assert (prune + (prune + quantize)).schemes == chain.schemes
    with pytest.raises(TinykitError, match=r"cannot follow.*write Prune.* \+ Quantize"):
        quantize + prune
    with pytest.raises(TinykitError, match="cannot follow"):
        chain + quantize
    with pytest.raises(TypeError):
        prune + 1  # type: ignore[operator]


def test_a_scheme_of_ones_own(data: Dataset) -> None:
    class Halve(Scheme):
        def apply(
            self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
        ) -> nn.Module:
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(0.5)
            return model

    model = tk.zoo.mlp(data.spec, width=0.1)
    small = tk.compress(model, data, Halve() + Halve())
    assert torch.equal(weights(small), weights(model) / 4)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: tk.Prune(1.0), "0 <= amount < 1, not 1"),
        (lambda: tk.Prune(-0.1), "0 <= amount < 1"),
        (lambda: tk.Prune(float("nan")), "0 <= amount < 1"),
        (
            lambda: tk.Prune(0.5, structure="block"),
            "structures 'channel'.*not 'block'",
        ),
        (lambda: tk.Prune(), "needs amount"),
        (lambda: tk.Prune(0.5, multiple=1.5), "multiple is 1.5"),
        (lambda: tk.Prune(0.5, rounds=1.5), "rounds is 1.5"),
        (lambda: tk.Prune(0.5, epochs="3"), "epochs is '3'"),
        (lambda: tk.Prune(0.5, lr="a"), "lr is 'a'"),
        (lambda: tk.Prune(0.5, structure=4), "structure by its name"),
        (lambda: tk.Quantize(epochs=1.5), "epochs is 1.5"),
        (lambda: tk.Quantize(8.0), "bits=2 to 8, not 8.0"),
        (lambda: tk.Quantize(mixed=True), "not True"),
        (lambda: tk.Quantize(mixed={"a": 99}), r"mixed\['a'\] is 99"),
        (lambda: tk.Prune("half"), "0 <= amount < 1, not half"),
        (lambda: tk.Prune({"a": 1}), "for layer 'a' it is 1"),
        (lambda: tk.Prune(0.5, criterion="luck"), "criteria magnitude, taylor, lamp"),
        (lambda: tk.Prune(0.5, structure="1x4", criterion="fpgm"), "compares whole filters"),
        (lambda: tk.Prune(structure="2:4", criterion="lamp"), "take 'magnitude'"),
        (lambda: tk.Prune(0.5, criterion="lamp", scope="layer"), "ranks as 'magnitude'"),
        (lambda: tk.Prune(0.5, structure="4:2"), "N < M"),
        (lambda: tk.Prune(0.5, structure="pattern:99"), "K up to 56"),
        (lambda: tk.Prune(0.9, structure="2:4"), "removes 0.5 of the weights by itself"),
        (lambda: tk.Prune(0.9, structure="0x4"), "blocks such as"),
        (lambda: tk.Prune(0.5, scope="all"), "scope 'layer' and 'global'"),
        (lambda: tk.Prune({"a": 0.5}, scope="layer"), "leave it out"),
        (lambda: tk.Prune(0.5, schedule="slow"), "schedules one-shot"),
        (lambda: tk.Prune(0.5, schedule="gradual", rounds=2), "has no rounds"),
        (lambda: tk.Prune(0.5, schedule="iterative"), "rounds >= 2"),
        (lambda: tk.Prune(0.5, schedule="rewind"), "early state"),
        (lambda: tk.Prune(0.5, rewind_to={}), "early state"),
        (lambda: tk.Prune(structure="2:4", schedule="gradual"), "at once"),
        (lambda: tk.Prune(0.5, multiple=0), "multiple is 0"),
        (lambda: tk.Prune(0.5, rounds=0), "rounds is 0"),
        (lambda: tk.Prune(0.5, lr=0), "lr is 0"),
        (lambda: tk.Quantize(bits=1), "bits=2 to 8, not 1"),
        (lambda: tk.Quantize(method="best"), "'qat' and 'ptq'"),
        (lambda: tk.Quantize(epochs=-1), "epochs is -1"),
        (lambda: tk.Quantize(activation_bits=12), "activation_bits=2 to 8, or 16"),
        (lambda: tk.Quantize(weights="finest"), "no quantizer 'finest'"),
        (lambda: tk.Quantize(mixed=0.5), r"mixed=\{layer: bits\} or mixed=bytes"),
        (lambda: tk.Quantize(adaround=True), "steps of method='ptq'"),
    ],
)
def test_arguments_out_of_range(make, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TinykitError, match=why):
        make()


def test_what_cannot_be_done_is_told(model: nn.Module, data: Dataset) -> None:
    with pytest.raises(TinykitError, match="takes a scheme such as"):
        tk.compress(model, data, 0.7)  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match="cannot be removed by channels"):
        tk.compress(model, data, tk.Prune(0.999, epochs=0))
    with pytest.raises(TinykitError, match="nothing to prune"):
        tk.compress(nn.Flatten(), data, tk.Prune(0.5))


def test_inputs_that_no_scheme_can_take_are_named(data: Dataset) -> None:
    model, scheme = tk.zoo.mlp(data.spec, width=0.1), tk.Prune(0.5, epochs=0)
    with pytest.raises(TinykitError, match="model is a str"):
        tk.compress("model", data, scheme)  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match="data is a ndarray"):
        tk.compress(model, data.train.x, scheme)  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match="seed is 'a'"):
        tk.compress(model, data, scheme, seed="a")  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match=r"is torch\.float64"):
        tk.compress(copy.deepcopy(model).double(), data, scheme)
    for split in ("train", "val"):
        part = data.split(split)
        none = replace(data, **{split: Split(part.x[:0], part.y[:0])})  # type: ignore[arg-type]
        with pytest.raises(TinykitError, match=f"no examples in its split '{split}'"):
            tk.compress(model, none, scheme)
