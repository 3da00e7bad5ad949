"""The command that makes the shipped tables."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tinykit.explore.sweep import compress_digits, lc_digits, lc_mnist
from tinykit.explore.sweep.__main__ import main
from tinykit.graph import TinykitError


def refuse(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    raise TinykitError("the data is not to be had")


def test_a_table_that_cannot_be_made_does_not_keep_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lc_mnist, "run", refuse)
    monkeypatch.setattr(lc_digits, "run", lambda work, seeds: {"seeds": list(seeds)})
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(["lc_mnist", "lc_digits", "--seeds", "4", *folders]) == 1
    assert "lc_mnist: the data is not to be had" in capsys.readouterr().err
    made = json.loads(gzip.decompress((tmp_path / "out" / "lc_digits.json.gz").read_bytes()))
    assert made == {"seeds": [4]}
    assert not (tmp_path / "out" / "lc_mnist.json.gz").exists()


def test_only_what_changes_with_the_engine_is_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(lc_mnist, "run", refuse)
    monkeypatch.setattr(compress_digits, "run", refuse)

    def recount(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
        asked.append("compress_digits")
        (work / f"{compress_digits.SAMPLE}.tflite").write_bytes(b"")
        return {}

    monkeypatch.setattr(compress_digits, "recount", recount)
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(["lc_mnist", "compress_digits", "--recount", *folders]) == 0
    assert asked == ["compress_digits"]
    assert not (tmp_path / "out" / "lc_mnist.json.gz").exists()
