"""Saving a simulation between two rounds, so that a killed run goes on to the same bits.

All randomness is drawn from (seed, purpose, round, device), so the state is the server's vectors,
what devices remember and could not say yet, and the history.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tinykit.data.files import store
from tinykit.federated.errors import FederatedError
from tinykit.federated.history import History

if TYPE_CHECKING:
    from tinykit.federated.simulation import Simulation

VERSION = 1
#: a file begins with this, the version, a line's end, and the SHA-256 of what follows
NAME = b"tinykit federation "


def settings(run: Simulation) -> dict[str, str]:
    """What the bits of `run` depend on, in words, by name."""
    net = run.setting.net
    state = net.module.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    first = hashlib.sha256()
    for value in (net.start, *state.values()):
        first.update(value.cpu().numpy().tobytes())
    return {
        "model": f"{net.module} {shapes} {net.loss_of_each.__qualname__} {first.hexdigest()}",
        "federation": f"{run.federation.name} {_federation(run)}",
        "strategy": repr(run.strategy),
        "local": repr(run.local),
        "cohort": repr(run.cohort),
        "seed": repr(run.seed),
        "engine": run.engine.settings,
        "faults": repr(run.faults),
        "guard": repr(run.guard),
        "compression": repr(run.uplink.compression),
        "privacy": repr(run.uplink.privacy),
        "masking": repr(run.uplink.masking),
        "deployment": "none" if run.deployment is None else run.deployment.words(),
        "device": run.setting.net.device.type,
    }


def _federation(run: Simulation) -> str:
    # hashed once: it does not change, and may be large
    known: str | None = getattr(run, "_federation_digest", None)
    if known is None:
        known = run.federation.fingerprint()
        run._federation_digest = known  # type: ignore[attr-defined]
    return known


def save(run: Simulation, path: str | Path) -> None:
    """Write the state of `run`; `path` is at every moment absent, the old state, or the new one."""
    out = io.BytesIO()
    torch.save(
        {
            "settings": settings(run),
            "server": {name: value.cpu() for name, value in run.server.items()},
            "statistics": run.statistics.cpu(),
            "memories": run.memories.state(),
            "residuals": run.uplink.residuals.state(),
            "usual": list(run.usual),
            "history": run.history.to_state(),
        },
        out,
    )
    body = out.getvalue()
    head = NAME + b"%d\n" % VERSION
    store(Path(path), head + hashlib.sha256(body).digest() + body)


def resume(run: Simulation, path: str | Path) -> None:
    """Put `run`, freshly made with the same arguments, into the state saved at `path`.

    Raises
    ------
    FederatedError
        No checkpoint of a simulation, damaged, or one of other settings.
    """
    state = torch.load(io.BytesIO(_body(path)), weights_only=True, map_location="cpu")
    saved, mine = state["settings"], settings(run)
    if different := [key for key in mine if saved.get(key) != mine[key]]:
        first = different[0]
        raise FederatedError(
            f"{path} was saved by a simulation with other {', '.join(different)}: its {first} is "
            f"{_short(saved.get(first))}, this one's {_short(mine[first])}. Give the same "
            "arguments, or another file"
        )
    device = run.setting.net.device
    run.server = {name: value.to(device) for name, value in state["server"].items()}
    run.statistics = state["statistics"].to(device)
    run.memories.restore(state["memories"], device)
    run.uplink.residuals.restore(state["residuals"], device)
    run.usual = deque(state["usual"])
    run.history = History.from_state(state["history"])


def _body(path: str | Path) -> bytes:
    """What `save` wrote, whole."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise FederatedError(f"the checkpoint {path} cannot be read: {error.strerror}") from None
    head, _, rest = raw.partition(b"\n")
    if not head.startswith(NAME):
        raise FederatedError(
            f"{path} is no checkpoint of a simulation: give another file, or delete it"
        )
    version = head.removeprefix(NAME).decode("ascii", "replace")
    if version != str(VERSION):
        raise FederatedError(f"{path} is of version {version}; this tinykit reads {VERSION}")
    size = hashlib.sha256().digest_size
    if hashlib.sha256(rest[size:]).digest() != rest[:size]:
        raise FederatedError(f"{path} is damaged: delete it and start again")
    return rest[size:]


def _short(text: str | None, most: int = 90) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def digest(run: Simulation) -> str:
    """SHA-256 of the server's vectors, the statistics, and all that devices keep in `run`."""
    found = hashlib.sha256()
    for name in sorted(run.server):
        found.update(name.encode() + run.server[name].cpu().numpy().tobytes())
    found.update(run.statistics.cpu().numpy().tobytes())
    for kept in (run.memories, run.uplink.residuals):
        state = kept.state()
        found.update(repr(state["devices"]).encode())
        tables = state["tables"]
        assert isinstance(tables, dict)
        for name in sorted(tables):
            found.update(name.encode() + tables[name].numpy().tobytes())
    return found.hexdigest()
