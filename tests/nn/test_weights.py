"""Weights to a file and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.graph.errors import ModelFormatError, TinykitError
from tinykit.nn.weights import load_weights, save_weights
from tinykit.quant.quantizers.uniform import Uniform

SPEC = tk.data.load("digits").spec


def test_back_to_the_bit_and_the_same_file(tmp_path: Path) -> None:
    model = tk.zoo.ds_cnn(SPEC, width=0.25, seed=3)
    save_weights(model, tmp_path / "a.npz")
    save_weights(model, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = load_weights(tk.zoo.ds_cnn(SPEC, width=0.25, seed=4), tmp_path / "a.npz")
    assert not again.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_other_files_are_refused(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(tk.TinykitError, match="holds no weights"):
        load_weights(model, tmp_path / "none.npz")
    for content in (b"", b"no zip at all"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(tk.TinykitError, match="holds no weights"):
            load_weights(model, tmp_path / "broken.npz")
    save_weights(nn.Linear(3, 3), tmp_path / "other.npz")
    with pytest.raises(tk.TinykitError, match="another module: weight differ"):
        load_weights(model, tmp_path / "other.npz")


def test_what_is_no_archive_of_numbers_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "words.npz", weight=np.array("x"), bias=np.array("y"))
    for name in ("one.npy", "words.npz"):
        with pytest.raises(ModelFormatError, match="holds no weights"):
            load_weights(model, tmp_path / name)


def test_states_that_are_more_than_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TinykitError, match="'_extra_state' is no tensor"):
        save_weights(Uniform(), tmp_path / "q.npz")
    assert not (tmp_path / "q.npz").exists()
