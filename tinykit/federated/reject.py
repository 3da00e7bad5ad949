"""Errors for what would otherwise come up in the middle of a simulation, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tinykit.data.types import DataSpec
from tinykit.federated.customise import Customise
from tinykit.federated.engines.engine import Pool, Setting
from tinykit.federated.errors import FederatedError
from tinykit.federated.net import Net
from tinykit.federated.strategy import Server


def reject_other_types(federation: tuple[object, type], **given: tuple[object, type]) -> None:
    """Arguments, each with its type; all but `federation` may be None."""
    for name, (value, kind) in {"federation": federation, **given}.items():
        if not isinstance(value, kind) and (value is not None or name == "federation"):
            raise FederatedError(f"{name} must be a {kind.__name__}, got {value!r:.80}")


def torch_device(name: str) -> torch.device:
    try:
        where = torch.device(name)
        torch.zeros(1, device=where)
    except (RuntimeError, AssertionError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise FederatedError(f"device is 'cpu' or 'cuda', got {name!r}: {why}") from None
    return where


def reject_undeclared(name: str, server: Server, before: Server) -> None:
    """Vectors that a strategy's `aggregate` lost, made up, or bent out of shape."""
    if set(server) != set(before):
        raise FederatedError(
            f"{name}.aggregate returned {sorted(server)}; it declares {sorted(before)}"
        )
    for key, value in server.items():
        if value.shape != before[key].shape or value.dtype != before[key].dtype:
            raise FederatedError(
                f"{name}.aggregate returned {key!r} as {value.dtype} {tuple(value.shape)}; it was "
                f"{before[key].dtype} {tuple(before[key].shape)}"
            )


def reject_unfit(
    setting: Setting, spec: DataSpec, test: Pool | None, customises: Sequence[Customise]
) -> None:
    """A model, labels or customisations that do not fit the data."""
    for what, pool in (("pool", setting.pool), ("test", test)):
        if pool is None:
            continue
        if not len(pool.y) or pool.x.shape[1:] != setting.pool.x.shape[1:]:
            raise FederatedError(
                f"{what} has {len(pool.y)} examples of {tuple(pool.x.shape[1:])} (C, H, W); those "
                f"that devices learn from are {tuple(setting.pool.x.shape[1:])}"
            )
        if pool.x.dtype != torch.float32 or pool.y.dtype != torch.int64:
            raise FederatedError(
                f"{what} needs float32 examples and int64 labels, got {pool.x.dtype} and "
                f"{pool.y.dtype}"
            )
        if not 0 <= int(pool.y.min()) <= int(pool.y.max()) < spec.num_classes:
            raise FederatedError(
                f"labels of {what} lie between {int(pool.y.min())} and {int(pool.y.max())}; "
                f"{spec.name} has {spec.num_classes} classes, from 0"
            )
        if not pool.x.isfinite().all():
            raise FederatedError(f"examples of {what} hold NaN or infinity")
    _reject_model(setting.net, setting.pool, spec)
    for customise in customises:
        if not isinstance(customise, Customise):
            raise FederatedError(f"customise must be a Customise, got {customise!r:.80}")
        customise.reject_unfit(setting.net, spec.num_classes)


def _reject_model(net: Net, pool: Pool, spec: DataSpec) -> None:
    shape = tuple(pool.x.shape[1:])
    try:
        logits: object = net.logits(net.start, net.statistics, pool.x[:2])[0]
        if len(pool.y) > 1:  # one example is none to normalise a batch with
            net.probe(pool.x[:2])
    except Exception as error:  # whatever a module may raise
        raise FederatedError(
            f"the model does not take examples of {spec.name}, which are {shape} "
            f"(C, H, W): {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(logits, Tensor):
        raise FederatedError(f"the model returns a {type(logits).__name__}, not a tensor of logits")
    if logits.ndim != 2 or len(logits) != len(pool.x[:2]) or logits.shape[1] < spec.num_classes:
        raise FederatedError(
            f"the model returns {tuple(logits.shape)} for {len(pool.x[:2])} examples; {spec.name} "
            f"has {spec.num_classes} classes, and a logit is expected for each"
        )
