"""Training after a cut: as `tinykit.fit`, but what is pruned stays zero."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tinykit.compress.pruning.layers import KINDS
from tinykit.compress.pruning.masks import masks_of
from tinykit.data.types import Dataset
from tinykit.nn.train import History, default_epochs, fit


def finetune(
    model: nn.Module,
    data: Dataset,
    epochs: int | None,
    *,
    lr: float,
    seed: int,
    progress: bool | None,
    what: str,
    on_step: Callable[[], None] | None = None,
    on_epoch: Callable[[int, History], None] | None = None,
) -> History:
    """Fit `model` for `epochs`; what its masks remove (`pruning.masks`) stays zero.

    Without `epochs` it takes `finetune_epochs`. `on_step` is called before the masks are applied,
    and may change them.
    """
    epochs = finetune_epochs(data) if epochs is None else epochs
    masks_of(model).hold(model)
    held = masks_of(model).present(model)

    def step() -> None:
        nonlocal held
        if on_step:
            on_step()
            held = masks_of(model).present(model)
        for parameter, mask in held:
            parameter.data.masked_fill_(~mask, 0)

    return fit(
        model,
        data,
        epochs,
        lr=lr,
        seed=seed,
        progress=progress,
        what=what,
        on_step=step if on_step or held else None,
        on_epoch=on_epoch,
    )


def finetune_epochs(data: Dataset) -> int:
    """A third of what training from scratch takes, and 3 at least."""
    return max(3, default_epochs(data) // 3)


def weighted(model: nn.Module) -> list[nn.Module]:
    """The layers whose weights count: convolutions and linear layers."""
    return [m for m in model.modules() if isinstance(m, KINDS)]
