import pytest
import torch

import tinykit as tk
from tinykit.data import DataSpec
from tinykit.graph import TinykitError
from tinykit.nn import zoo

SPECS = [
    DataSpec("a", (8, 8, 1), tuple("0123456789")),
    DataSpec("b", (28, 28, 1), tuple("abc")),
    DataSpec("c", (32, 32, 3), tuple("ab")),
    DataSpec("d", (49, 10, 1), tuple("abcdefghijkl")),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: str(s.shape))
@pytest.mark.parametrize("name", zoo.__all__)
def test_nchw_in_logits_out(name: str, spec: DataSpec) -> None:
    model = getattr(tk.zoo, name)(spec, width=0.5)
    h, w, c = spec.shape
    logits = model.eval()(torch.randn(3, c, h, w))
    assert logits.shape == (3, spec.num_classes)
    assert logits.std() > 0


@pytest.mark.parametrize("name", zoo.__all__)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    build = getattr(tk.zoo, name)
    torch.manual_seed(1)
    first = build(SPECS[0], seed=3).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))  # torch's own stream was not touched
    again, other = build(SPECS[0], seed=3).state_dict(), build(SPECS[0], seed=4).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("name", zoo.__all__)
def test_wider_is_larger(name: str) -> None:
    sizes = [
        sum(p.numel() for p in getattr(tk.zoo, name)(SPECS[0], width=w).parameters())
        for w in (0.25, 0.5, 1, 2)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 4


def test_ds_cnn_is_the_published_size() -> None:
    """64 channels: 3×3 stem, four (3×3 depthwise + 1×1), classifier; counted by hand."""
    model = tk.zoo.ds_cnn(SPECS[0])
    bn = 2 * 64
    want = 9 * 64 + bn + 4 * (9 * 64 + bn + 64 * 64 + bn) + 64 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == want


@pytest.mark.parametrize("width", [0, -1, 17, float("nan")])
def test_width_out_of_range(width: float) -> None:
    with pytest.raises(TinykitError, match="width"):
        tk.zoo.ds_cnn(SPECS[0], width=width)


def test_hidden_layers_of_an_mlp_are_as_asked_for() -> None:
    spec = DataSpec("x", (4, 4, 1), tuple("abc"))
    shapes = [tuple(p.shape) for p in zoo.mlp(spec, hidden=(8, 12)).parameters() if p.ndim == 2]
    assert shapes == [(8, 16), (12, 8), (3, 12)]
    assert len(list(zoo.mlp(spec, hidden=()).parameters())) == 2
