"""The vectorised engine: the client function of many devices at once, by `torch.func.vmap`.

A hundred small networks cost little more than one: the time of a small network is Python's. Devices
with fewer steps or examples are padded, and padding is masked. Sums are added in another order than
one by one, so that results agree with the sequential engine's to rounding, not to the bit; with
another number of threads (`torch.set_num_threads`) they may be added in another order again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from tinykit.federated.checks import whole
from tinykit.federated.customise import Examples
from tinykit.federated.device import Batch, Device
from tinykit.federated.engines.engine import (
    Broadcast,
    Engine,
    Pool,
    Setting,
    Work,
    checked,
    stacked,
)
from tinykit.federated.engines.sequential import one_thread
from tinykit.federated.engines.single import run_one, seed_of
from tinykit.federated.errors import ClientError, FederatedError
from tinykit.federated.gradient import grad_and_value
from tinykit.federated.local import Minibatches
from tinykit.federated.net import Net
from tinykit.federated.strategy import Replies

#: bytes that a chunk's tensors may take, roughly
BUDGET = {"cpu": 1 << 29, "cuda": 8 << 30}


class _ManyDevices(Device):
    """A `Device` inside vmap: its tensors stand for those of all devices of a chunk.

    Parameters
    ----------
    query, support : positions (steps, width), and how many of each row count; None: all
    longest : steps of the chunk's busiest device
    even : whether all devices do that many
    """

    def __init__(
        self,
        setting: Setting,
        broadcast: Broadcast,
        statistics: Tensor,
        memory: dict[str, Tensor],
        steps: Tensor,
        examples: Tensor,
        query: tuple[Tensor, Tensor | None],
        support: tuple[Tensor, Tensor | None] | None,
        longest: int,
        even: bool,
    ) -> None:
        super().__init__(
            setting.net,
            setting.local,
            broadcast.lr,
            setting.strategy.customise,
            broadcast.server["model"].clone(),
            statistics,
            {name: broadcast.server[name].clone() for name in setting.strategy.shared},
            memory,
            steps,
            examples,
        )
        self._pool, self._query, self._support = setting.pool, query, support
        self._longest, self._even = longest, even

    def batches(self) -> Iterator[tuple[int, Batch]]:
        for number in range(self._longest):
            own = _examples(self._pool, *self._query, number)
            if self._support is None:
                yield number, Batch(own, own)
            else:
                yield number, Batch(own, _examples(self._pool, *self._support, number))

    def gradient(self, w: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        def objective(v: Tensor) -> tuple[Tensor, Tensor]:
            return self.objective(v, batch)

        gradient, (loss, statistics) = grad_and_value(objective, w)
        return gradient, loss, statistics

    def keep(self, number: int, new: Tensor, old: Tensor) -> Tensor:
        if self._even:
            return new
        assert isinstance(self.steps, Tensor)
        return torch.where(self.steps > number, new, old)


def _examples(pool: Pool, index: Tensor, sizes: Tensor | None, number: int) -> Examples:
    row = index[number]
    weight = None
    if sizes is not None:
        counted = torch.arange(row.shape[-1], device=row.device) < sizes[number]
        weight = counted.to(pool.x.dtype)
    return Examples(pool.x[row], pool.y[row], weight)


class Vectorised(Engine):
    """Many devices at once, in chunks.

    Parameters
    ----------
    chunk : devices at once; None: as many as some 0.5 GB hold (8 GB on a GPU)
    """

    name: ClassVar[str] = "vectorised"

    def __init__(self, chunk: int | None = None) -> None:
        if chunk is not None:
            whole("the devices of a chunk", chunk, least=1)
        self.chunk = chunk
        self._known: tuple[Net, int] | None = None

    @property
    def settings(self) -> str:
        return f"{self.name}, chunk {self.chunk}"

    def train(
        self, setting: Setting, broadcast: Broadcast, works: Sequence[Work]
    ) -> tuple[Replies | None, dict[int, str]]:
        if not works:
            return None, {}
        # devices of like size together: what is padded is computed for nothing
        order = sorted(range(len(works)), key=lambda k: len(works[k].query))
        size = self.chunk or self._fitting(setting, works)
        parts = [order[k : k + size] for k in range(0, len(order), size)]
        with torch.no_grad(), deterministic():
            done = [_chunk_or_singly(setting, broadcast, [works[k] for k in p]) for p in parts]
        errors = {device: error for _, failed in done for device, error in failed.items()}
        answered = [replies for replies, _ in done if replies is not None]
        if not answered:
            return None, errors
        joined = Replies.join(answered)
        by_device = sorted(range(len(joined)), key=joined.devices.__getitem__)
        return joined.take(by_device), errors

    def _fitting(self, setting: Setting, works: Sequence[Work]) -> int:
        net = setting.net
        if self._known is None or self._known[0] is not net:
            self._known = net, _activations(setting)
        width = max(work.query.index.shape[1] for work in works)
        # parameters, gradient, update, memory; activations forwards and backwards
        bytes_each = 4 * (10 * net.size + 4 * width * self._known[1])
        budget = BUDGET.get(net.device.type, BUDGET["cpu"])
        return max(1, min(len(works), budget // bytes_each))


def _activations(setting: Setting) -> int:
    """Numbers that one example makes in the network, counted on its way through."""
    counted = [0]

    def count(_module: Any, _given: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            counted[0] += out.numel()

    hooks = [m.register_forward_hook(count) for m in setting.net.module.modules()]
    try:
        with torch.no_grad():
            setting.net.logits(setting.net.start, setting.net.statistics, setting.pool.x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return counted[0] + setting.pool.x[:1].numel()


def _chunk_or_singly(
    setting: Setting, broadcast: Broadcast, works: Sequence[Work]
) -> tuple[Replies | None, dict[int, str]]:
    """All at once; where that fails, one by one, which tells whose client function it was."""
    try:
        return _chunk(setting, broadcast, works), {}
    except ClientError as error:
        with one_thread():
            done = [run_one(setting.net, setting, broadcast, work) for work in works]
            replies, errors = stacked(done, broadcast.lr)
        if errors:
            return replies, errors
        raise ClientError(
            f"the client function works for devices {works[0].device} to {works[-1].device} one "
            f"by one, but not all at once: {error}. "
            "One that branches on values of tensors, or writes into them, needs "
            "engine='sequential'; so may large models, or a smaller Vectorised(chunk=...)"
        ) from error


def _chunk(setting: Setting, broadcast: Broadcast, works: Sequence[Work]) -> Replies:
    net, strategy = setting.net, setting.strategy
    put = net.device
    longest = max(len(work.query) for work in works)
    even = all(len(work.query) == longest for work in works)
    query, query_sizes = _padded([w.query for w in works], longest)
    if net.normalises and query_sizes is not None:
        raise FederatedError(
            "batch norm would count the padding of smaller minibatches: choose a batch that "
            "divides every device's examples, or engine='sequential'"
        )
    support = support_sizes = None
    if works[0].support is not None:
        support, support_sizes = _padded(
            [w.support for w in works if w.support is not None], longest
        )
    steps = torch.tensor([len(work.query) for work in works])
    examples = torch.tensor([work.examples for work in works])
    memory = {n: torch.stack([w.memory[n] for w in works]) for n in works[0].memory}
    statistics = broadcast.statistics.repeat(len(works), 1)
    # None under vmap is None for all
    parts = (query, query_sizes, support, support_sizes, steps, examples)
    given = tuple(None if value is None else value.to(put) for value in parts)
    dims = tuple(None if value is None else 0 for value in given)

    def client(own: tuple[Any, ...], memory: dict[str, Tensor], statistics: Tensor) -> Any:
        query, query_sizes, support, support_sizes, steps, examples = own
        device = _ManyDevices(
            setting,
            broadcast,
            statistics,
            memory,
            steps,
            examples,
            (query, query_sizes),
            None if support is None else (support, support_sizes),
            longest,
            even,
        )
        reply = checked(strategy.client(device), setting, memory)
        return reply.model, device.statistics, reply.memory, reply.sent, device.loss

    with torch.random.fork_rng(devices=[], enabled=net.random):
        if net.random:
            torch.manual_seed(seed_of(broadcast, works[0].device))
        try:
            model, statistics, memory, sent, loss = vmap(
                client, in_dims=(dims, 0, 0), randomness="different"
            )(given, memory, statistics)
        except FederatedError:
            raise
        except Exception as error:
            raise ClientError(f"{type(error).__name__}: {error}") from error
    return Replies(
        tuple(work.device for work in works),
        model,
        statistics,
        memory,
        sent,
        examples.to(put),
        steps.to(put),
        loss,
        broadcast.lr,
    )


def _padded(rows: Sequence[Minibatches], longest: int) -> tuple[Tensor, Tensor | None]:
    """Positions (devices, longest, width), and sizes (devices, longest) where they are not full.

    Steps that a device does not do look at its first example, or at that of the pool; what they
    make of it is not kept.
    """
    width = max(r.index.shape[1] for r in rows)
    index = np.empty((len(rows), longest, width), dtype=np.int64)
    sizes = np.ones((len(rows), longest), dtype=np.int64)
    for out, size, r in zip(index, sizes, rows, strict=True):
        out[...] = r.index[0, 0] if len(r) else 0
        out[: len(r), : r.index.shape[1]] = r.index
        out[: len(r), r.index.shape[1] :] = r.index[:, :1]
        size[: len(r)] = r.sizes
    full = all(r.index.shape[1] == width and r.full for r in rows)
    return torch.from_numpy(index), None if full else torch.from_numpy(sizes)


@contextmanager
def deterministic() -> Iterator[None]:
    """cuDNN takes only algorithms that give the same bits every time."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
