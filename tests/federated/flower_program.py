"""A program for Flower that owes the kit nothing but the minibatches: what the kit is compared to.

It is what people write with Flower: a ClientApp that trains a torch module with `torch.optim.SGD`,
and `flwr.serverapp.strategy.FedAvg`, which does the averaging. The one change: replies are sorted
by client before they are averaged, because Flower averages them as they come in, and a sum of
floating-point numbers depends on its order.
"""

from __future__ import annotations

import hashlib
import os
import random
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from tests.federated.flower_worlds import World, federation, network
from tinykit.federated.engines.flower import ENVIRONMENT, without
from tinykit.federated.local import minibatches
from tinykit.federated.randomness import Purpose, generator

with warnings.catch_warnings(), without("tensorflow"):
    warnings.simplefilter("ignore")  # click's, at import
    os.environ.update(ENVIRONMENT)
    from flwr.app import (
        Array,
        ArrayRecord,
        ConfigRecord,
        Context,
        Message,
        MetricRecord,
        RecordDict,
    )
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp import strategy as theirs
    from flwr.supercore.task_identity import TaskIdentity


__all__ = ["Array", "ConfigRecord"]  # and what is defined here


def trained(world: World, model: nn.Module, round: int, client: int) -> nn.Module:
    """`model` after the client's steps of SGD."""
    data, local = federation(world), world.local
    own, steps = data.train[client], local.steps_for(len(data.train[client]))
    rng = generator(world.seed, Purpose.QUERY, round, client)
    rows = minibatches(own, steps, local.batch, rng)
    optimizer = torch.optim.SGD(model.parameters(), local.lr, weight_decay=local.weight_decay)
    for index, size in zip(rows.index, rows.sizes, strict=True):
        x = torch.from_numpy(data.pool.x[index[:size]]).permute(0, 3, 1, 2).contiguous()
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            model(x), torch.from_numpy(data.pool.y[index[:size]])
        ).backward()
        optimizer.step()
    return model


def client_app(world: World) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        client = int(context.node_config["partition-id"])
        model = network(world)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        trained(world, model, int(message.content["config"]["server-round"]) - 1, client)
        metrics = {"num-examples": world.sizes[client], "client": client}
        content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord(metrics)}
        return Message(RecordDict(content), reply_to=message)

    return app


class SortedFedAvg(theirs.FedAvg):
    """Flower's FedAvg of replies in the order of clients."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        replies = list(replies)
        for reply in replies:
            if reply.has_error():
                raise RuntimeError(reply.error.reason)
        return super().aggregate_train(server_round, in_order(replies))


def in_order(replies: Iterable[Message]) -> list[Message]:
    return sorted(replies, key=lambda reply: int(reply.content["metrics"]["client"]))


def rounds(world: World, grid: Grid, count: int) -> dict[str, torch.Tensor]:
    """The shared model's parameters after `count` rounds in which every client takes part."""
    strategy = SortedFedAvg(fraction_train=1.0, fraction_evaluate=0.0)
    start = ArrayRecord(network(world).state_dict())
    return strategy.start(grid, start, num_rounds=count).arrays.to_torch_state_dict()


def server_app(world: World, count: int, result: dict[str, torch.Tensor]) -> ServerApp:
    """A ServerApp that leaves what `rounds` returns in `result`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        result.update(rounds(world, grid, count))

    return app


class LocalGrid(Grid):
    """A grid without a network or processes: clients answer at once, in random order."""

    def __init__(self, app: ClientApp, clients: int) -> None:
        self._app, self._clients = app, clients
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1

    def get_node_ids(self) -> Iterable[int]:
        return range(1, self._clients + 1)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            own = {"partition-id": node - 1, "num-partitions": self._clients}
            context = Context(
                run_id=1, node_id=node, node_config=own, state=RecordDict(), run_config={}
            )
            replies.append(self._app(message, context))
        random.shuffle(replies)
        return replies

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    run = property(lambda self: None)

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def sha256(tensors: Iterable[torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
