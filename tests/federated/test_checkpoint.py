"""A run that is killed and goes on ends with the same bits; other files are refused in words."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.federated.killed import SETTINGS, kill_one, simulation
from tests.federated.world import digits, federation, mlp, normed
from tinykit.federated import (
    Cohort,
    Faults,
    FedAvg,
    FedBN,
    FederatedError,
    FedProx,
    Guard,
    Local,
    Scaffold,
    Simulation,
)
from tinykit.federated import checkpoint as _checkpoint

ROUNDS = 60


@pytest.mark.parametrize("name", ["FedDyn, sequential", "FedDyn, faults, vectorised"])
def test_killed_at_a_random_time(name: str, tmp_path: Path) -> None:
    whole = simulation(name)
    whole.run(ROUNDS, progress=False)
    path, rng = tmp_path / "run.ckpt", random.Random(name)
    assert kill_one(name, path, ROUNDS, rng)
    again = simulation(name)
    _checkpoint.resume(again, path)
    assert 0 < again.done < ROUNDS
    again = simulation(name)
    again.run(ROUNDS, checkpoint=path, progress=False)
    assert again.fingerprint() == whole.fingerprint()
    assert str(again.history.to_state()) == str(whole.history.to_state())


@pytest.mark.parametrize("name", SETTINGS)
def test_in_pieces(name: str, tmp_path: Path) -> None:
    """Saved and loaded after each round: nothing that matters is left out of the file."""
    whole = simulation(name)
    whole.run(6, progress=False)
    path = tmp_path / "run.ckpt"
    for rounds in (1, 2, 3, 6):
        piece = simulation(name)
        piece.run(rounds, checkpoint=path, progress=False)
    assert piece.fingerprint() == whole.fingerprint()
    assert str(piece.history.to_state()) == str(whole.history.to_state())
    assert piece.usual == whole.usual
    assert torch.equal(piece.statistics, whole.statistics)


def test_batch_norm_kept_on_devices(tmp_path: Path) -> None:
    def make() -> Simulation:
        return Simulation(
            normed(), federation((8, 16, 8), test=4), FedBN(), local=Local(epochs=1, batch=8),
            cohort=2, evaluate_devices=None,
        )  # fmt: skip

    whole, path = make(), tmp_path / "run.ckpt"
    whole.run(4, progress=False)
    make().run(2, checkpoint=path, progress=False)
    again = make()
    again.run(4, checkpoint=path, progress=False)
    assert again.fingerprint() == whole.fingerprint()
    assert again.history[-1].device_accuracy == whole.history[-1].device_accuracy


def make(**given: Any) -> Simulation:
    settings = {"model": mlp(), "federation": federation(), "strategy": FedProx(mu=0.1),
                "local": Local(steps=1, batch=8), "cohort": 2, "seed": 0,
                "engine": "sequential", **given}  # fmt: skip
    return Simulation(**settings)


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.ckpt"
    make().run(2, checkpoint=path, progress=False)
    return path


OTHER = federation()
SWAPPED = replace(OTHER, train=(OTHER.train[1], OTHER.train[0], *OTHER.train[2:]), test=())


def lossy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, y, reduction="none") / 2


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"model": mlp(13)}, "model"),
        ({"model": mlp(12, seed=1)}, "model"),
        ({"model": mlp().requires_grad_(True)}, None),
        ({"loss": lossy}, "model"),
        ({"federation": federation(seed=1)}, "federation"),
        ({"federation": SWAPPED}, "federation"),
        ({"strategy": FedProx(mu=0.2)}, "strategy"),
        ({"strategy": FedAvg()}, "strategy"),
        ({"local": Local(steps=1, batch=8, lr=0.2)}, "local"),
        ({"cohort": 3}, "cohort"),
        ({"cohort": Cohort(2, sampling="poisson")}, "cohort"),
        ({"seed": 1}, "seed"),
        ({"engine": "vectorised"}, "engine"),
        ({"faults": Faults(nan=0.1)}, "faults"),
        ({"guard": Guard(outlier=None)}, "guard"),
        ({"test": digits().test}, None),  # what is looked at does not matter
    ],
)
def test_other_settings(given: dict[str, Any], named: str | None, tmp_path: Path) -> None:
    path, run = saved(tmp_path), make(**given)
    if named is None:
        run.run(3, checkpoint=path, progress=False)
        assert run.done == 3
        return
    before = run.fingerprint()
    with pytest.raises(FederatedError, match=f"with other {named}: its {named} is") as caught:
        run.run(3, checkpoint=path)
    assert "same arguments, or another file" in str(caught.value)
    assert run.fingerprint() == before
    assert run.done == 0


def test_all_that_differ_are_named(tmp_path: Path) -> None:
    with pytest.raises(FederatedError, match="with other strategy, cohort, seed: its strategy"):
        make(seed=3, cohort=3, strategy=Scaffold()).run(3, checkpoint=saved(tmp_path))


def test_damage_anywhere(tmp_path: Path) -> None:
    """One flipped bit, wherever it is, and any cut: refused, never another model."""
    path = saved(tmp_path)
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    run = make()
    for where in [*range(0, 60), *rng.integers(0, len(raw), 40).tolist()]:
        spoiled = bytearray(raw)
        spoiled[where] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        with pytest.raises(FederatedError, match=r"is damaged|is no checkpoint|of version"):
            run.run(3, checkpoint=path)
    for cut in (0, 1, 10, 21, 60, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(FederatedError, match=r"is damaged|is no checkpoint|of version"):
            run.run(3, checkpoint=path)
    assert run.done == 0
    path.write_bytes(raw)
    run.run(3, checkpoint=path, progress=False)
    assert run.done == 3


def test_another_version_or_no_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"federation 1\n", b"federation 2\n", 1))
    with pytest.raises(FederatedError, match="of version 2; this tinykit reads 1"):
        make().run(3, checkpoint=path)
    torch.save({"version": 1}, path)
    with pytest.raises(FederatedError, match="is no checkpoint of a simulation"):
        make().run(3, checkpoint=path)
    with pytest.raises(FederatedError, match="cannot be read: Is a directory"):
        make().run(3, checkpoint=tmp_path)
    with pytest.raises(FederatedError, match="cannot be read: No such file"):
        _checkpoint.resume(make(), tmp_path / "absent.ckpt")


def test_file_says_its_hash(tmp_path: Path) -> None:
    head, _, rest = saved(tmp_path).read_bytes().partition(b"\n")
    assert head == b"tinykit federation 1"
    assert hashlib.sha256(rest[32:]).digest() == rest[:32]
    assert not list(tmp_path.glob("*.part"))


def test_fingerprint_sees_everything() -> None:
    run = make(strategy=Scaffold())
    run.run(2, progress=False)
    marks = {run.fingerprint()}
    run.server["control"][3] += 1e-7
    marks.add(run.fingerprint())
    device = next(iter(run.memories.rows))
    value = run.memories.get(device, {})["control"].clone()
    value[0] += 1e-3
    run.memories.put([device], {"control": value[None]})
    marks.add(run.fingerprint())
    assert len(marks) == 3
