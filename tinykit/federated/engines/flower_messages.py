"""What travels between the server and Flower's ClientApps, and the ClientApp itself.

As `flower_runtime`, this is imported only where Flower and Ray are installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.device import Reply
from tinykit.federated.engines.engine import Broadcast, Outcome, Pool, Setting, Work
from tinykit.federated.engines.flower import without
from tinykit.federated.engines.single import run_one
from tinykit.federated.errors import FederatedError
from tinykit.federated.local import Minibatches

# Flower imports TensorFlow where it is installed, into this process and into every worker (which
# import this module before any of Flower's simulation, for `Actor`)
with without("tensorflow"):
    import ray
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.simulation.ray_transport.ray_actor import VirtualClientEngineActor


def put(setting: Setting) -> Any:
    """`setting` in Ray's object store; examples as arrays, which workers share without copies."""
    x, y = setting.pool.x, setting.pool.y
    # with one channel, strides are ambiguous; which they are decides on torch's kernel, so on bits
    pool = (x.numpy(), x.stride(), y.numpy())
    try:
        return ray.put((setting.net, setting.strategy, setting.local, pool))
    except Exception as error:
        raise FederatedError(
            f"the model, the loss or {type(setting.strategy).__name__} cannot be sent to Flower's "
            f"workers: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error


def encode(broadcast: Broadcast, works: Sequence[Work]) -> list[RecordDict]:
    """What each of `works` is sent."""
    server = _arrays(broadcast.server)  # once for all
    return [_encode(broadcast, server, work) for work in works]


def _arrays(values: Mapping[str, Tensor]) -> ArrayRecord:
    return ArrayRecord({name: Array(value.detach().numpy()) for name, value in values.items()})


def _tensors(record: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.numpy()) for name, array in record.items()}


def _encode(broadcast: Broadcast, server: ArrayRecord, work: Work) -> RecordDict:
    minibatches = {"query": work.query}
    if work.support is not None:
        minibatches["support"] = work.support
    numbers: dict[str, np.ndarray] = {}
    for name, rows in minibatches.items():
        numbers[f"{name}.index"], numbers[f"{name}.sizes"] = rows.index, rows.sizes
    return RecordDict(
        {
            "server": server,
            "statistics": _arrays({"statistics": broadcast.statistics}),
            "memory": _arrays(work.memory),
            "minibatches": ArrayRecord({name: Array(value) for name, value in numbers.items()}),
            "work": ConfigRecord(
                {
                    "device": work.device,
                    "examples": work.examples,
                    "round": broadcast.round,
                    "lr": broadcast.lr,
                    "seed": str(broadcast.seed),  # may be longer than Flower's integers
                }
            ),
        }
    )


def _decode(content: RecordDict) -> tuple[Broadcast, Work]:
    said: Any = content["work"]
    rows = {name: array.numpy() for name, array in content.array_records["minibatches"].items()}

    def minibatches(name: str) -> Minibatches:
        return Minibatches(rows[f"{name}.index"], rows[f"{name}.sizes"])

    return (
        Broadcast(
            said["round"],
            _tensors(content["server"]),
            _tensors(content["statistics"])["statistics"],
            said["lr"],
            int(said["seed"]),
        ),
        Work(
            said["device"],
            minibatches("query"),
            minibatches("support") if "support.index" in rows else None,
            said["examples"],
            _tensors(content["memory"]),
        ),
    )


def answer(outcome: Outcome) -> RecordDict:
    """What a ClientApp replies."""
    if outcome.reply is None or outcome.statistics is None:
        return RecordDict({"outcome": ConfigRecord({"error": outcome.error})})
    return RecordDict(
        {
            "model": _arrays({"model": outcome.reply.model, "statistics": outcome.statistics}),
            "memory": _arrays(outcome.reply.memory),
            "sent": _arrays(outcome.reply.sent),
            "outcome": ConfigRecord(
                {"steps": outcome.steps, "examples": outcome.examples, "loss": outcome.loss}
            ),
        }
    )


def outcome(device: int, content: RecordDict) -> Outcome:
    """The inverse of `answer`, for the device with that number."""
    said: Any = content["outcome"]
    if "error" in said:
        return Outcome(device, None, error=said["error"])
    vectors = _tensors(content["model"])
    reply = Reply(vectors["model"], _tensors(content["memory"]), _tensors(content["sent"]))
    return Outcome(
        device, reply, vectors["statistics"], said["steps"], said["examples"], said["loss"]
    )


# -- in a worker ----------------------------------------------------------------------------------

#: the one setting that this worker works with, by its place in the object store
_SETTINGS: dict[str, Setting] = {}


def client_app(settings: Any) -> ClientApp:
    """The ClientApp of all devices; `settings` is where Ray keeps the setting."""
    app = ClientApp()

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        setting = _setting(settings)
        broadcast, work = _decode(message.content)
        return Message(answer(run_one(setting.net, setting, broadcast, work)), reply_to=message)

    return app


def _setting(settings: Any) -> Setting:
    key = settings.hex()
    if key not in _SETTINGS:
        torch.set_num_threads(1)  # see run_one
        net, strategy, local, (x, strides, y) = ray.get(settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays cannot be written to, and nobody does
            pool = Pool(torch.from_numpy(x).as_strided(x.shape, strides), torch.from_numpy(y))
        _SETTINGS.clear()
        _SETTINGS[key] = Setting(net, strategy, local, pool)
    return _SETTINGS[key]


class Actor(VirtualClientEngineActor):  # type: ignore[misc]
    """What a worker of Ray runs. Of this module, so that a worker imports this module first."""
