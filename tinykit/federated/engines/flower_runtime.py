"""Flower's simulation runtime on Ray, started and stopped by the engine `Flower`.

Flower's `run_simulation` is deprecated, runs the server in a thread that Ctrl+C does not reach, and
waits for its workers for ever. Its parts are used here instead, with the server in the caller's
thread: the grid that messages travel by, the loop that hands them to Ray's actors, and ClientApps.
Nothing of this is imported before Flower and Ray are known to be there.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tinykit.federated.engines.engine import Broadcast, Outcome, Setting, Work
from tinykit.federated.engines.flower import without
from tinykit.federated.engines.sequential import cores
from tinykit.federated.errors import FederatedError

# Flower imports TensorFlow where it is installed
with without("tensorflow"):
    import ray
    from flwr.app import Message, MessageType
    from flwr.clientapp import ClientApp
    from flwr.common.constant import RUN_ID_NUM_BYTES, SUPERLINK_NODE_ID, TASK_ID_NUM_BYTES
    from flwr.proto.task_pb2 import Task
    from flwr.server.superlink.fleet.vce import vce_api
    from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
    from flwr.server.superlink.fleet.vce.metrics import VceMetrics
    from flwr.server.superlink.linkstate import LinkStateFactory
    from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
    from flwr.server.superlink.linkstate.utils import generate_rand_int_from_bytes
    from flwr.simulation.ray_transport.ray_actor import BasicActorPool
    from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
    from flwr.supercore.object_store import ObjectStoreFactory
    from flwr.supercore.run import Run
    from flwr.supercore.task_identity import TaskIdentity
    from flwr.superlink.federation import NoOpFederationManager
    from flwr.superlink.grid import InMemoryGrid

    from tinykit.federated.engines import flower_messages as messages

#: Flower's nodes at least: a node is handed one message in 0.1 s. A node is whichever device is
#: asked, whose number travels with the message: 10,000 devices cost no more than a cohort
NODES = 32
#: seconds between two looks for replies
POLL = 0.005
#: seconds that Ray may take to start, and to stop
PATIENCE = 120.0


class Runtime:
    """Flower and Ray, running.

    Parameters
    ----------
    workers, address : as of `Flower`

    Attributes
    ----------
    busy : devices that were asked have not all answered; then it cannot be used again

    Raises
    ------
    FederatedError
        Ray runs in this process already, or does not start.
    """

    def __init__(self, workers: int | None, address: str | None) -> None:
        if ray.is_initialized():
            raise FederatedError(
                "Ray is running in this process already, and the Flower engine would stop it: "
                "call ray.shutdown() first"
            )
        self.busy = False
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._backend: _Backend | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._settings: Any = None
        try:
            _start_ray(workers, address)
            self._start_flower(workers)
        except BaseException:
            self.stop()
            raise

    def _start_flower(self, workers: int | None) -> None:
        run = Run.create_empty(run_id=generate_rand_int_from_bytes(RUN_ID_NUM_BYTES))
        run.federation_id = NOOP_FEDERATION_ID
        run.primary_task_id = task = generate_rand_int_from_bytes(TASK_ID_NUM_BYTES)
        TaskIdentity.task_id, TaskIdentity.run_id = task, run.run_id
        TaskIdentity.node_id = SUPERLINK_NODE_ID
        states = LinkStateFactory(
            FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory()
        )
        state: Any = states.state()
        state.run_ids[run.run_id] = RunRecord(run=run)
        state.task_store[task] = Task(task_id=task, run_id=run.run_id)
        self._grid = InMemoryGrid(states)
        self._grid.set_run(run)
        nodes = vce_api._register_nodes(max(NODES, 4 * (workers or 1)), states)
        self._nodes = list(nodes)

        def backend() -> _Backend:
            self._backend = _Backend(workers, self._ready)
            return self._backend

        def work() -> None:
            try:
                vce_api.run_api(
                    ClientApp,  # `give` tells which
                    backend,
                    nodes,
                    states,
                    vce_api._register_node_info_stores(nodes, run),
                    self._stopping,
                    VceMetrics(),
                )
            except BaseException as error:  # told to whoever waits for it
                self._error = error.__cause__ or error

        self._thread = threading.Thread(target=work, name="flower", daemon=True)
        self._thread.start()
        end = time.monotonic() + PATIENCE
        while not self._ready.wait(POLL):
            self._check(end, f"Ray's workers did not start within {PATIENCE:.0f} s")

    def give(self, setting: Setting) -> None:
        """From now on devices work with `setting`, which goes to each worker once.

        Raises
        ------
        FederatedError
            It cannot be sent.
        """
        assert self._backend is not None
        self._settings = messages.put(setting)  # kept: Ray forgets what nobody refers to
        self._backend.app_fn = partial(messages.client_app, self._settings)

    def ask(self, broadcast: Broadcast, works: Sequence[Work], timeout: float) -> list[Outcome]:
        """What each of `works` came to, in any order.

        Raises
        ------
        FederatedError
            A worker died, or `timeout` seconds were over.
        """
        sent = [
            Message(
                content,
                dst_node_id=self._nodes[k % len(self._nodes)],
                message_type=MessageType.TRAIN,
                group_id=str(broadcast.round),
            )
            for k, content in enumerate(messages.encode(broadcast, works))
        ]
        self.busy = True
        waiting = dict(zip(self._grid.push_messages(sent), works, strict=True))
        end = time.monotonic() + timeout
        outcomes = []
        while True:
            for reply in self._grid.pull_messages(list(waiting)):
                work = waiting.pop(reply.metadata.reply_to_message_id)
                if reply.has_error():  # what a client function raises is no error of Flower's
                    raise FederatedError(
                        f"a worker of Flower died in round {broadcast.round + 1} (did memory run "
                        f"out?), or could not load the client: {reply.error.reason}"
                    )
                outcomes.append(messages.outcome(work.device, reply.content))
            if not waiting:
                self.busy = False
                return outcomes
            missing = sorted(work.device for work in waiting.values())
            self._check(
                end,
                f"after {timeout:g} s, {len(missing)} of {len(works)} devices of round "
                f"{broadcast.round + 1} have not answered: {_listed(missing)}. "
                "Flower(timeout=...) gives them longer",
            )
            time.sleep(POLL)

    def _check(self, end: float, late: str) -> None:
        if self._thread is not None and not self._thread.is_alive():
            raise FederatedError(f"Flower's runtime stopped: {self._error}")
        if time.monotonic() > end:
            raise FederatedError(late)

    def stop(self) -> None:
        """End Flower's threads and Ray's processes, busy or not."""
        self._stopping.set()
        if self._backend is not None:
            self._backend.kill()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._settings = None
        with _without_warnings():
            ray.shutdown()


class _Backend(RayBackend):  # type: ignore[misc]
    """Flower's Ray backend on a Ray that is started and stopped elsewhere.

    Parameters
    ----------
    workers : actors at most
    ready : set when there are workers
    """

    def __init__(self, workers: int | None, ready: threading.Event) -> None:
        super().__init__({"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})
        self._most, self._ready = workers, ready
        self._actors: list[Any] = []

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        actor: Any = ray.remote(messages.Actor)
        self.pool = BasicActorPool(actor, self.client_resources, self.actor_kwargs)
        capacity = self.pool.actors_capacity
        self.pool.add_actors_to_pool(min(self._most or capacity, capacity))
        self._actors = list(self.pool.pool)
        self.app_fn = app_fn
        self._ready.set()

    def kill(self) -> None:
        """End the actors at once; who waits for one gets an error."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def terminate(self) -> None:
        """Nothing: `Runtime.stop` does it, also where a worker hangs."""


def _start_ray(workers: int | None, address: str | None) -> None:
    # workers have to find what this process can import; a runtime_env would be slower
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    where: dict[str, Any] = {"address": address or "local"}
    if address:
        where["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    else:
        where["num_cpus"] = workers or cores()
    where |= {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }
    try:
        os.environ["PYTHONPATH"] = path
        with _without_warnings():
            try:
                ray.init(**where)
            except Exception as error:
                # its parts give each other 15 s, which on a busy machine are not always enough
                if address or "startup" not in str(error):
                    raise
                ray.init(**where)
    except Exception as error:
        raise FederatedError(
            f"Ray did not start: {type(error).__name__}: {error} Is the machine busy? Try again"
        ) from error
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Flower logs nothing inside: what matters of it is raised."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _listed(devices: Sequence[int], most: int = 8) -> str:
    return ", ".join(map(str, devices[:most])) + (", …" if len(devices) > most else "")
