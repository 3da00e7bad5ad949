"""Fake-quantize nodes become notes, with scales kept to the last bit."""

import numpy as np
import pytest
import torch
from torch import nn

from tinykit.formats.torch_export import from_torch
from tinykit.graph import UnsupportedOpError


class Noted(nn.Module):
    def __init__(self, low: int = -127, groups: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=groups)
        self.linear = nn.Linear(4 * 6 * 6, 3)
        self.low, self.high = low, -low
        self.register_buffer("scales", torch.tensor([0.011, 0.007, 0.0031, 0.02]))
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int32))
        self.register_buffer("one", torch.tensor([0.0123456789]))
        self.register_buffer("point", torch.tensor([17], dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, 1 / 255, -128, -128, 127)
        w = torch.fake_quantize_per_channel_affine(
            self.conv.weight, self.scales, self.zeros, 0, self.low, self.high
        )
        x = torch.relu(nn.functional.conv2d(x, w, self.conv.bias, 1, 1, 1, self.conv.groups))
        x = torch.fake_quantize_per_tensor_affine(x, self.one, self.point, -128, 127)
        v = torch.fake_quantize_per_tensor_affine(self.linear.weight, 0.004, 0, -127, 127)
        return nn.functional.linear(x.flatten(1), v, self.linear.bias)


@pytest.mark.parametrize(("low", "bits"), [(-127, 8), (-7, 4)])
@pytest.mark.parametrize(("groups", "axis"), [(1, 0), (4, 3)])
def test_notes(low: int, bits: int, groups: int, axis: int) -> None:
    module = Noted(low, groups).eval()
    traced = from_torch(module, torch.zeros(1, 4, 6, 6))
    graph = traced.graph
    conv, reshape, linear = graph.ops
    assert reshape.kind == "reshape"
    weights = conv.inputs[1]
    assert weights is not None
    note = traced.weights[weights]
    assert note.axis == axis
    assert np.array_equal(note.scale, module.scales.numpy())
    assert traced.weight_bits[weights] == bits
    # the constant holds the fake-quantized numbers: whole multiples of the scales
    data = graph.tensors[weights].data
    assert data is not None
    shape = [1, 1, 1, 1]
    shape[axis] = 4
    whole = data / note.scale.reshape(shape)
    assert np.abs(whole - np.round(whole)).max() < 1e-4
    assert np.abs(np.round(whole)).max() <= -low
    by_tensor = {
        k: (float(q.scale[0]), int(q.zero_point[0])) for k, q in traced.activations.items()
    }
    assert by_tensor[graph.inputs[0]] == (float(np.float32(1 / 255)), -128)
    assert by_tensor[conv.outputs[0]] == (float(module.one), 17)
    assert by_tensor[reshape.outputs[0]] == (float(module.one), 17)  # it moves numbers only
    assert linear.outputs[0] not in by_tensor
    second = traced.weights[linear.inputs[1]]  # type: ignore[index]
    assert second.axis is None
    assert second.scale[0] == np.float32(0.004)


def test_levels_that_no_runtime_has() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 63)

    with pytest.raises(UnsupportedOpError, match=r"levels 0\.\.63"):
        from_torch(Odd(), torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("low", "high", "bits", "full"),
    [(-1, 1, 2, False), (-2, 1, 2, True), (-8, 7, 4, True), (-15, 15, 5, False),
     (-63, 63, 7, False), (-64, 63, 7, True), (-5, 5, 4, False), (-128, 127, 8, True)],
)  # fmt: skip
def test_bits_of_weights(low: int, high: int, bits: int, full: bool) -> None:
    class Low(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            w = torch.fake_quantize_per_tensor_affine(self.linear.weight, 0.01, 0, low, high)
            return nn.functional.linear(x, w, self.linear.bias)

    traced = from_torch(Low(), torch.zeros(1, 4))
    (index,) = traced.weights
    assert traced.weight_bits[index] == bits
    assert traced.full_range == ({index} if full else set())


def test_activations_of_other_bits() -> None:
    class Few(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fake_quantize_per_tensor_affine(torch.relu(x), 0.1, 0, -8, 7)

    with pytest.raises(UnsupportedOpError, match="activations of 4 bits"):
        from_torch(Few(), torch.zeros(1, 4))


def test_one_tensor_in_two_ways() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)
            b = torch.fake_quantize_per_tensor_affine(x, 0.2, 0, -128, 127)
            return a + b

    with pytest.raises(UnsupportedOpError, match="in two ways"):
        from_torch(Twice(), torch.zeros(1, 4))
