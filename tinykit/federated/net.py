"""A torch module as a function of one vector of parameters.

Strategies add and subtract models; said of one vector, an algorithm is as short as in its paper.
Buffers (the statistics of batch norm) are a second vector, which gradients do not reach.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tinykit.federated.errors import FederatedError

#: (logits, labels) -> the loss of each example
Loss = Callable[[Tensor, Tensor], Tensor]
NORMS = (nn.modules.batchnorm._BatchNorm,)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each example, nats: (N, classes), (N,) → (N,)."""
    # said so, and not by F.cross_entropy, it is the same bits and half the time under vmap
    return -F.log_softmax(logits, 1).gather(1, y[:, None])[:, 0]


@dataclass(frozen=True)
class _Slot:
    name: str
    shape: torch.Size
    size: int


class Net:
    """`module` as a function of a vector of P parameters and a vector of S statistics.

    Parameters
    ----------
    module : takes NCHW, returns logits; copied, the given one is left alone
    loss : of each example
    device : where it computes

    Attributes
    ----------
    start, statistics : the module's own parameters and float buffers, (P,) and (S,)

    Raises
    ------
    FederatedError
        A module without parameters, or parameters that are not float32.
    """

    def __init__(
        self, module: nn.Module, loss: Loss = cross_entropy, device: str | torch.device = "cpu"
    ) -> None:
        self.module = copy.deepcopy(module).to(device).requires_grad_(False)
        self.loss_of_each = loss
        self.device = torch.device(device)
        named = dict(self.module.named_parameters())
        wrong = [n for n, p in named.items() if p.dtype != torch.float32]
        if not named or wrong:
            raise FederatedError(
                f"{', '.join(wrong)} must be float32 to be averaged; use model.float()"
                if wrong
                else "the model has no parameters that devices could learn"
            )
        buffers = {n: b for n, b in self.module.named_buffers() if b.is_floating_point()}
        self._slots = [_Slot(n, p.shape, p.numel()) for n, p in named.items()]
        self._sizes = [slot.size for slot in self._slots]
        self._stat_slots = [_Slot(n, b.shape, b.numel()) for n, b in buffers.items()]
        self._stat_sizes = [slot.size for slot in self._stat_slots]
        self._counters = {n: b for n, b in self.module.named_buffers() if not b.is_floating_point()}
        self.start = torch.cat([p.detach().reshape(-1) for p in named.values()])
        self.statistics = (
            torch.cat([b.detach().reshape(-1) for b in buffers.values()])
            if buffers
            else torch.zeros(0, device=self.device)
        )
        modules = list(self.module.modules())
        self.normalises = any(isinstance(m, NORMS) for m in modules)
        self.random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p for m in modules)
        self.convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in modules)

    @property
    def size(self) -> int:
        """The number of parameters P."""
        return len(self.start)

    def copy(self) -> Net:
        """One of its own, for another thread: a call swaps the module's parameters."""
        return Net(self.module, self.loss_of_each, self.device)

    def parameters(self, w: Tensor) -> dict[str, Tensor]:
        """The parameters in the vector `w` (P,), by name, as views."""
        parts = torch.split(w, self._sizes)
        return {s.name: v.view(s.shape) for s, v in zip(self._slots, parts, strict=True)}

    def where(self, kinds: tuple[type[nn.Module], ...] = NORMS) -> Tensor:
        """Positions in the vector of parameters that belong to modules of `kinds`, int64."""
        own = {
            f"{prefix}.{name}" if prefix else name
            for prefix, module in self.module.named_modules()
            if isinstance(module, kinds)
            for name, _ in module.named_parameters(recurse=False)
        }
        ends = torch.tensor(self._sizes).cumsum(0).tolist()
        parts = [
            torch.arange(end - slot.size, end)
            for slot, end in zip(self._slots, ends, strict=True)
            if slot.name in own
        ]
        return torch.cat(parts).to(self.device) if parts else torch.zeros(0, dtype=torch.int64)

    def logits(
        self, w: Tensor, statistics: Tensor, x: Tensor, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Logits of `x` (N, C, H, W), and the statistics after it (those given, in eval mode)."""
        state = self.parameters(w)
        train_stats = training and len(self._stat_slots) > 0
        buffers = self._buffers(statistics)
        counters = {n: c.clone() for n, c in self._counters.items()} if training else {}
        if self.module.training != training:
            self.module.train(training)
        out = functional_call(self.module, {**state, **buffers, **counters}, (x,))
        if not train_stats:
            return out, statistics
        return out, torch.cat([buffers[s.name].reshape(-1) for s in self._stat_slots])

    def _buffers(self, statistics: Tensor) -> dict[str, Tensor]:
        if not self._stat_slots:
            return {}
        parts = torch.split(statistics, self._stat_sizes)
        # clones: batch norm writes into them
        return {
            s.name: v.view(s.shape).clone() for s, v in zip(self._stat_slots, parts, strict=True)
        }

    def features(
        self, w: Tensor, statistics: Tensor, x: Tensor, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """What the last linear layer is given for `x`, (N, features), and the statistics after it.

        Raises
        ------
        FederatedError
            A module without a linear layer.
        """
        linear = [m for m in self.module.modules() if isinstance(m, nn.Linear)]
        if not linear:
            raise FederatedError(
                "prototypes are means of what the last linear layer is given; this model has none"
            )
        seen: list[Tensor] = []
        hook = linear[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            _, after = self.logits(w, statistics, x, training)
        finally:
            hook.remove()
        return seen[0].flatten(1), after

    def loss(
        self, w: Tensor, statistics: Tensor, x: Tensor, y: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch in training mode, and the statistics after it.

        Parameters
        ----------
        weight : of each example (N,), 0 for padding; None for a plain mean
        """
        logits, after = self.logits(w, statistics, x, training=True)
        each = self.loss_of_each(logits, y)
        return mean(each, weight), after

    def module_of(self, w: Tensor, statistics: Tensor) -> nn.Module:
        """A module with these parameters and statistics, in eval mode, on the CPU."""
        module = copy.deepcopy(self.module)
        with torch.no_grad():
            own = dict(module.named_parameters())
            for name, value in self.parameters(w.detach()).items():
                own[name].copy_(value)
            buffers = dict(module.named_buffers())
            for name, value in self._buffers(statistics).items():
                buffers[name].copy_(value)
        return module.cpu().requires_grad_(True).eval()


def mean(each: Tensor, weight: Tensor | None) -> Tensor:
    """The weighted mean of (N,) losses; a plain one without weights."""
    return each.mean() if weight is None else (each * weight).sum() / weight.sum().clamp(min=1)
