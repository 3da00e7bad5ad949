"""A module's weights as a file of plain arrays (.npz): no pickle, safe whoever it is from."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tinykit.data.files import store
from tinykit.graph.errors import ModelFormatError, TinykitError


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write all parameters and buffers of `model`; the same weights give the same bytes.

    Raises
    ------
    TinykitError
        A module whose state is more than tensors (a quantized one's modes).
    """
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise TinykitError(
                f"{name!r} is no tensor: quantized modules are not kept as weights; save the float "
                "model, or tinykit.to_graph(model)"
            )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, tensor in model.state_dict().items():
            array = io.BytesIO()
            np.save(array, tensor.detach().cpu().numpy(), allow_pickle=False)
            # a fixed date: numpy's own savez writes the time of day into the file
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, array.getvalue())
    store(Path(path), out.getvalue())


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """`model` itself, with the weights of `path`, in eval mode.

    Raises
    ------
    ModelFormatError
        No such file, not one of weights, or weights of another module; the text says which.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            state = {name: torch.from_numpy(file[name]) for name in file.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ModelFormatError(f"{path} holds no weights ({error})") from None
    mine = model.state_dict()
    wrong = sorted(
        {n for n in mine if n not in state or state[n].shape != mine[n].shape} | state.keys() - mine
    )
    if wrong:
        raise ModelFormatError(f"{path} holds weights of another module: {', '.join(wrong)} differ")
    model.load_state_dict(state)
    return model.eval()
