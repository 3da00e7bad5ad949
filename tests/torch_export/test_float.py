"""The float Graph equals the torch module, within float32 rounding."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import tinykit as tk
from tinykit.data import DataSpec
from tinykit.formats.torch_export import TracedGraph, from_torch
from tinykit.graph import GraphError, UnsupportedOpError
from tinykit.nn import zoo


def stir(module: nn.Module, seed: int) -> nn.Module:
    """Batch norms with statistics and factors that are not the identity."""
    g = torch.Generator().manual_seed(seed)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d):
            assert m.running_mean is not None
            assert m.running_var is not None
            m.running_mean.copy_(torch.randn(m.running_mean.shape, generator=g) * 0.3)
            m.running_var.copy_(torch.rand(m.running_var.shape, generator=g) + 0.5)
            nn.init.normal_(m.weight, 1, 0.3, generator=g)
            nn.init.normal_(m.bias, 0, 0.3, generator=g)
    return module.eval()


def check(module: nn.Module, shape: tuple[int, ...], seed: int = 0) -> TracedGraph:
    """Trace, run both on random numbers, compare to 1e-5 of the largest; returns the trace."""
    with torch.no_grad():
        stir(module, seed)
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    traced = from_torch(module, torch.zeros(1, *shape))
    with torch.no_grad():
        want = module(x).numpy()
    fed = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    got = traced.graph.run(fed.numpy())[0]
    if want.ndim == 4:
        want = want.transpose(0, 2, 3, 1)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * max(1, np.abs(want).max()))
    return traced


def kinds(traced: TracedGraph) -> list[str]:
    return [op.kind for op in traced.graph.ops]


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 30, 3)])
@pytest.mark.parametrize("name", zoo.__all__)
def test_zoo(name: str, shape: tuple[int, int, int]) -> None:
    spec = DataSpec("x", shape, tuple("0123456"))
    h, w, c = shape
    traced = check(getattr(zoo, name)(spec, width=0.5), (c, h, w))
    assert not {"pad", "transpose"} & set(kinds(traced))  # the zoo pads as TFLite does


convs = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "groups": st.sampled_from([1, 2, 4]),
        "multiplier": st.integers(1, 2),
        "bias": st.booleans(),
        "norm": st.booleans(),
        "act": st.sampled_from([None, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.LeakyReLU]),
        "size": st.tuples(st.integers(8, 12), st.integers(8, 12)),
        "extra": st.sampled_from([None, (0, 1, 0, 1), (1, 0, 2, 1)]),
    }
)


@settings(max_examples=120)
@given(spec=convs, seed=st.integers(0, 100))
def test_convolutions_of_every_form(spec: dict, seed: int) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [] if spec["extra"] is None else [nn.ZeroPad2d(spec["extra"])]
    layers.append(
        nn.Conv2d(
            4,
            4 * spec["multiplier"],
            spec["kernel"],
            spec["stride"],
            spec["pad"],
            spec["dilation"],
            spec["groups"],
            bias=spec["bias"],
        )
    )
    if spec["norm"]:
        layers.append(nn.BatchNorm2d(4 * spec["multiplier"]))
    if spec["act"]:
        layers.append(spec["act"]())
    traced = check(nn.Sequential(*layers), (4, *spec["size"]), seed)
    assert not {"mul", "add", "transpose"} & set(kinds(traced))  # batch norm is folded
    if spec["act"] in (nn.ReLU, nn.ReLU6, nn.Hardtanh):
        assert len([k for k in kinds(traced) if k not in ("pad",)]) == 1  # and the activation fused
    if spec["groups"] == 4:
        assert "depthwise_conv_2d" in kinds(traced)


@settings(max_examples=40)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    include=st.booleans(),
    average=st.booleans(),
    size=st.integers(6, 9),
)
def test_pooling(
    kernel: int, stride: int, pad: int, include: bool, average: bool, size: int
) -> None:
    pad = min(pad, kernel // 2)
    layer: nn.Module = (
        nn.AvgPool2d(kernel, stride, pad, count_include_pad=include)
        if average
        else nn.MaxPool2d(kernel, stride, pad)
    )
    if average and pad and not include:
        # such a padding exists in TFLite only as SAME; any other is refused, never miscounted
        with contextlib.suppress(UnsupportedOpError):
            check(layer, (3, size, size + 1))
    else:
        check(layer, (3, size, size + 1))


class Net(nn.Module):
    """A module whose forward is the given function, which may use `self.layers`."""

    def __init__(self, run, *layers: nn.Module) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self.layers, x)


CHW = (4, 6, 5)
FUNCTIONS = {
    "relu then relu6": lambda _, x: F.relu6(F.relu(x)),
    "sigmoid tanh": lambda _, x: torch.sigmoid(x) - torch.tanh(x),
    "silu hardsigmoid": lambda _, x: F.silu(x) * F.hardsigmoid(x),
    "leaky": lambda _, x: F.leaky_relu(x, 0.2),
    "clamp": lambda _, x: x.clamp(0, 6) + x.clamp(min=0) - x.clamp(-1, 1),
    "scalars": lambda _, x: (2 - x) * 3 / 4 + 1 - 0.5,
    "negative": lambda _, x: -x,
    "alpha": lambda _, x: torch.add(x, 0.5, alpha=3),
    "per channel": lambda _, x: x * torch.arange(4.0).view(4, 1, 1) + torch.arange(5.0),
    "broadcast of a mean": lambda _, x: x * x.mean((2, 3), keepdim=True),
    "means": lambda _, x: x.mean(1) * x.mean((1, 3)).unsqueeze(2),
    "mean of rows": lambda _, x: x.mean(2),
    "mean to a vector": lambda _, x: x.mean((2, 3)),
    "cat channels": lambda _, x: torch.cat([x, F.relu(x), x * 2], 1),
    "cat rows": lambda _, x: torch.cat([x, x + 1], 2),
    "chunk": lambda _, x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "uneven split": lambda _, x: torch.cat(torch.split(x, [1, 3], 1)[::-1], 1),
    "split rows": lambda _, x: torch.cat(torch.split(x, 4, 2)[::-1], 2),
    "slices": lambda _, x: x[:, 1:3, ::2, -3:],
    "pad": lambda _, x: F.pad(x, (1, 0, 2, 1)),
    "pad channels": lambda _, x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "pad with a value": lambda _, x: F.pad(x, (1, 1), value=-1.5),
    "nearest": lambda _, x: F.interpolate(x, scale_factor=2),
    "nearest to a size": lambda _, x: F.interpolate(x, size=(9, 4)),
    "bilinear": lambda _, x: F.interpolate(x, size=(9, 11), mode="bilinear"),
    "bilinear aligned": lambda _, x: F.interpolate(
        x, size=(9, 11), mode="bilinear", align_corners=True
    ),
    "flatten": lambda _, x: x.flatten(1),
    "flatten, arithmetic": lambda _, x: F.relu(x.flatten(1) * 2) + x.flatten(1),
    "flatten, per feature": lambda _, x: x.flatten(1) * torch.arange(120.0),
    "reshape oddly": lambda _, x: x.reshape(1, 12, 10),
    "permute to nhwc": lambda _, x: x.permute(0, 2, 3, 1),
    "permute and back": lambda _, x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2) + x,
    "transpose": lambda _, x: x.transpose(1, 3),
    "softmax over channels": lambda _, x: F.softmax(x, 1),
    "softmax over columns": lambda _, x: F.softmax(x.mean(1), -1),
    "squeeze": lambda _, x: x.mean((2, 3), keepdim=True).squeeze(3).squeeze(2).unsqueeze(1),
    "adaptive": lambda _, x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive to one": lambda _, x: F.adaptive_avg_pool2d(x, 1),
    "nhwc against a vector": lambda _, x: x + x.mean((1, 2)),
    "dropout": lambda _, x: F.dropout(x, 0.5, training=False).contiguous().clone() + 0,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    check(Net(FUNCTIONS[name]), CHW)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_after_and_before_layers(name: str) -> None:
    """The same between a convolution and a linear layer, where layouts have to be right."""
    with torch.no_grad():
        size = FUNCTIONS[name](None, torch.zeros(1, *CHW)).numel()

    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return layers[1](FUNCTIONS[name](layers, F.relu(layers[0](x))).flatten(1))

    torch.manual_seed(0)
    check(Net(run, nn.Conv2d(4, 4, 3, padding=1), nn.Linear(size, 3)), CHW)


def test_flatten_permutes_the_columns_of_the_linear_layer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(48, 5))
    assert kinds(check(net, (2, 6, 6))) == ["conv_2d", "reshape", "fully_connected"]


def test_pool_and_flatten_are_one_mean() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    assert kinds(check(net, (2, 6, 6))) == ["conv_2d", "mean", "fully_connected"]


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(3, 2, 3, 2),
        nn.ConvTranspose2d(3, 2, 4, 2, padding=1),
        nn.ConvTranspose2d(3, 2, 2, 2, bias=False),
        nn.ConvTranspose2d(3, 2, 3, 1, padding=1),
    ],
    ids=str,
)
def test_transposed_convolution(layer: nn.Module) -> None:
    check(layer, (3, 5, 4))


def test_batch_norm_that_follows_no_convolution() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3))
    assert kinds(check(net, (3, 4, 4))) == ["mul", "add", "conv_2d", "mul", "add"]


def test_a_convolution_read_twice_keeps_its_batch_norm_apart() -> None:
    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        y = layers[0](x)
        return F.relu(y) + layers[1](y)

    check(Net(run, nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)), (2, 6, 6))


def test_shared_layer_and_flat_input() -> None:
    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return layers[0](torch.tanh(layers[0](x)))

    check(Net(run, nn.Linear(6, 6)), (6,))
    check(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU()), (6,))


def test_linear_along_the_last_of_three_axes() -> None:
    check(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), (5, 6))


def test_unknown_operator_is_named_with_its_place() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.GELU()))
    with pytest.raises(UnsupportedOpError, match=r"gelu.*op number 2.*in 1\.1") as caught:
        from_torch(net, torch.zeros(1, 1, 8, 8))
    assert caught.value.position == 2


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.ConvTranspose2d(2, 2, 3, 2, padding=1), "neither TFLite's SAME nor VALID"),
        (nn.ConvTranspose2d(2, 2, 3, groups=2), "groups or dilation"),
        (nn.ReflectionPad2d(1), "reflect"),
        (nn.MaxPool2d(2, dilation=2), "dilated pooling"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "ceil_mode"),
        (nn.Hardtanh(-2, 3), r"clamping to \[-2"),
        (nn.AdaptiveAvgPool2d(4), "equal windows"),
        (nn.Softmax(2), "softmax along axis 2"),
    ],
    ids=str,
)
def test_variants_without_a_counterpart_say_why(layer: nn.Module, why: str) -> None:
    with pytest.raises(UnsupportedOpError, match=why):
        from_torch(layer, torch.zeros(1, 2, 6, 6))


def test_untraceable_and_many_headed_modules() -> None:
    with pytest.raises(GraphError, match=r"torch\.export cannot trace Net"):
        from_torch(Net(lambda _, x: x if x.sum() > 0 else -x), torch.zeros(1, 4))
    with pytest.raises(GraphError, match="returns 2 results"):
        from_torch(Net(lambda _, x: (x + 1, x + 2)), torch.zeros(1, 4))


def test_the_module_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    net[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    from_torch(net, torch.zeros(1, 1, 8, 8))
    assert net.training
    assert not net[1].training
    assert net[2].training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_names_are_the_modules_paths() -> None:
    spec = DataSpec("x", (8, 8, 1), tuple("01"))
    graph = tk.to_graph(tk.zoo.resnet8(spec, width=0.25))
    names = [op.name for op in graph.ops]
    assert names[1] == "1.first.0"
    assert names[-1] == "softmax"
    assert len(set(names)) == len(names)
