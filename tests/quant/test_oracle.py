"""What torch models become runs in TFLite Micro, and gives what the reference interpreter gives."""

import numpy as np
import pytest
import torch

import tinykit as tk
from tinykit.formats import tflite
from tinykit.nn import zoo
from tinykit.quant.prepare import calibrated, prepare
from tinykit.targets import tflm

FORMS = {
    "int8": {},
    "int4": {"bits": 4},
    "int16": {"activation_bits": 16},
    "mse": {"observer": "mse"},
    "percentile": {"observer": "percentile"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", zoo.__all__)
def test_zoo_in_tflite_micro(name: str, form: str) -> None:
    data = tk.data.load("digits")
    model = getattr(zoo, name)(data.spec, width=0.25)
    tk.fit(model, data.subset(256), epochs=1)
    graph = tk.to_graph(model, calibrate=data.train.x[:20], **FORMS[form])
    _same(graph, data.test.x[:3])


@pytest.mark.parametrize("bits", [8, 4])
def test_learned_scales_in_tflite_micro(bits: int) -> None:
    data = tk.data.load("digits")
    torch.manual_seed(0)
    model = zoo.resnet8(data.spec, width=0.5)
    small = calibrated(prepare(model, bits), data)
    tk.fit(small, data.subset(128), epochs=1, lr=1e-3)
    _same(tk.to_graph(small), data.test.x[:3])


def _same(graph: tk.Graph, x: np.ndarray) -> None:
    stored = [graph.input.stored(image[None]) for image in x]
    theirs = tflm.run(tflite.write(graph), [[s] for s in stored])
    for values, want in zip(stored, theirs.outputs, strict=True):
        np.testing.assert_array_equal(graph.run(values)[0], want[0])
