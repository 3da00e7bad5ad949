"""The benchmark harness: what it prints, and when it fails."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace

import pytest

from tests.benchmarks import Figure, at_least, at_most, plain
from tests.benchmarks.__main__ import main, names, parts

KEYS = {"figure", "value", "unit", "limit", "holds", "peer"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    module = SimpleNamespace(run=lambda: figures)
    monkeypatch.setattr("tests.benchmarks.__main__.names", lambda: ["fake"])
    monkeypatch.setattr(importlib, "import_module", lambda _: module)
    return figures


def test_figures_hold_or_not() -> None:
    assert at_most("a", 1, "s", 1).holds is True
    assert at_most("a", 1.1, "s", 1).holds is False
    assert at_least("a", 6, "x", 6).holds is True
    assert at_least("a", 5.9, "x", 6).holds is False
    assert at_most("a", None, "s", 1).holds is False, "not measured is not kept"
    assert plain("a", 3, "s").holds is None


def test_json_is_a_list_of_the_promised_objects(
    fake: list[Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    fake += [at_most("a", 1, "s", 2, {"name": "other", "value": 3}), plain("b", None, "B")]
    assert main(["fake", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [set(d) for d in data] == [KEYS, KEYS]
    assert data[0]["peer"] == {"name": "other", "value": 3}
    assert data[1]["holds"] is None


def test_a_broken_limit_ends_with_1_and_shows(
    fake: list[Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.append(at_most("a", 3, "s", 2))
    assert main(["fake"]) == 1
    assert "NO" in capsys.readouterr().out


def test_unknown_names_are_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonesuch"])
    assert "demo" in capsys.readouterr().err


def test_the_promised_benchmarks_are_there() -> None:
    assert set(names()) >= {"demo", "verify", "profile", "startup"}
    assert set(parts()) >= {"federated.flower", "federated.speed", "federated.gpu"}
    assert not any(name.split(".")[-1].startswith("_") for name in [*names(), *parts()])
    for name in [*names(), *parts()]:
        assert callable(importlib.import_module(f"tests.benchmarks.{name}").run)


def test_a_package_runs_all_of_its_modules_and_one_runs_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    modules = [name for name in parts() if name.startswith("federated.")]
    for name in modules:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        monkeypatch.setattr(module, "run", lambda name=name: [plain(name, 1, "s")])
    assert main(["federated", "--json"]) == 0
    assert [figure["figure"] for figure in json.loads(capsys.readouterr().out)] == modules
    assert main(["federated.speed", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [figure["figure"] for figure in shown] == ["federated.speed"]
