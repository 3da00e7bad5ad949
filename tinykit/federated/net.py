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
    places: tuple[str, ...]


class Net:
    """`module` as a function of a vector of P parameters and a vector of S statistics.

    Parameters
    ----------
    module : takes NCHW, returns logits; copied, the given one is left alone. Parameters that do
        not require a gradient are frozen: no device changes them, and they do not travel
    loss : of each example
    device : where it computes

    Attributes
    ----------
    start, statistics : the module's own parameters and float buffers, (P,) and (S,)

    Raises
    ------
    FederatedError
        A module without parameters that learn, or whose parameters are not float32 or not finite,
        or whose batch norm keeps a cumulative average.
    """

    def __init__(
        self, module: nn.Module, loss: Loss = cross_entropy, device: str | torch.device = "cpu"
    ) -> None:
        _reject_unfit(module)
        self.module = copy.deepcopy(module).to(device)
        self.loss_of_each = loss
        self.device = torch.device(device)
        named = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        self.module.requires_grad_(False)
        buffers = {n: b for n, b in self.module.named_buffers() if b.is_floating_point()}
        # a tensor that several modules use goes to all of them
        places = _places(self.module)
        self._slots = [_Slot(n, p.shape, p.numel(), places[id(p)]) for n, p in named.items()]
        self._sizes = [slot.size for slot in self._slots]
        self._stat_slots = [_Slot(n, b.shape, b.numel(), places[id(b)]) for n, b in buffers.items()]
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
        #: whether training draws random numbers (dropout); `probe` finds out what types do not say
        self.random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p for m in modules)
        self.convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in modules)

    @property
    def size(self) -> int:
        """The number of parameters P."""
        return len(self.start)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the tensors that the vector of parameters is made of."""
        return tuple(self._sizes)

    def copy(self) -> Net:
        """One of its own, for another thread: a call swaps the module's parameters."""
        return copy.deepcopy(self)

    def probe(self, x: Tensor) -> None:
        """Train on `x` to see whether the module draws random numbers: dropout by a function, say.

        Raises
        ------
        Exception
            Whatever the module raises in training mode.
        """
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            before = torch.get_rng_state()
            self.logits(self.start, self.statistics, x, training=True)
            self.random |= not torch.equal(before, torch.get_rng_state())

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
        given = {place: state[s.name] for s in self._slots for place in s.places}
        given |= {place: buffers[s.name] for s in self._stat_slots for place in s.places}
        # torch's own tying leaves a module that is registered twice changed
        out = functional_call(self.module, given | counters, (x,), tie_weights=False)
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
        """What the last linear layer is given for `x`, (N, features); the statistics after it."""
        seen: list[Tensor] = []
        last = self.last_linear()
        hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            _, after = self.logits(w, statistics, x, training)
        finally:
            hook.remove()
        return seen[0].flatten(1), after

    def last_linear(self) -> nn.Linear:
        """The layer that prototypes take the place of.

        Raises
        ------
        FederatedError
            There is none.
        """
        linear = [m for m in self.module.modules() if isinstance(m, nn.Linear)]
        if not linear:
            raise FederatedError(
                "prototypes are means of what the last linear layer is given; this model has none"
            )
        return linear[-1]

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
        for slot in self._slots:
            own[slot.name].requires_grad_(True)
        return module.cpu().eval()


def _places(module: nn.Module) -> dict[int, tuple[str, ...]]:
    """id of a parameter or buffer → the names of all that hold it, each module counted once."""
    found: dict[int, tuple[str, ...]] = {}
    for prefix, part in module.named_modules():
        for own in (part.named_parameters, part.named_buffers):
            for name, value in own(prefix, recurse=False, remove_duplicate=False):
                found[id(value)] = (*found.get(id(value), ()), name)
    return found


def _reject_unfit(module: nn.Module) -> None:
    """Errors for modules that cannot be averaged, or would be so wrongly."""
    if not isinstance(module, nn.Module):
        raise FederatedError(f"the model must be a torch.nn.Module, got {module!r:.80}")
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if lazy := [n for n, p in named.items() if nn.parameter.is_lazy(p)]:
        raise FederatedError(
            f"{', '.join(lazy)} has no shape before the first call: call the model once"
        )
    if not any(p.requires_grad for p in module.parameters()):
        raise FederatedError(
            "the model has no parameters that devices could learn"
            + (": all are frozen" if any(True for _ in module.parameters()) else "")
        )
    floats = {n: p for n, p in named.items() if p.is_floating_point() or p.is_complex()}
    if wrong := [n for n, p in floats.items() if p.dtype != torch.float32]:
        raise FederatedError(
            f"{', '.join(wrong)} must be float32 to be averaged; use model.float()"
        )
    if wrong := [n for n, p in floats.items() if not p.isfinite().all()]:
        raise FederatedError(f"{', '.join(wrong)} of the model holds NaN or infinity")
    for name, part in module.named_modules():
        if isinstance(part, NORMS) and part.track_running_stats and part.momentum is None:
            raise FederatedError(
                f"{name} keeps a cumulative average (momentum=None), which does not survive "
                "averaging over devices: give it a momentum"
            )


def mean(each: Tensor, weight: Tensor | None) -> Tensor:
    """The weighted mean of (N,) losses; a plain one without weights."""
    return each.mean() if weight is None else (each * weight).sum() / weight.sum().clamp(min=1)
