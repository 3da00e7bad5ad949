"""MISRA C:2012 by cppcheck: generated code breaks no rule but those that its README names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.nets import collect, residual
from tinykit.engine import arrange
from tinykit.engine.export import MISRA, export, write_folder

pytestmark = pytest.mark.skipif(not shutil.which("cppcheck"), reason="no cppcheck")


def broken(folder: Path) -> dict[str, str]:
    """Rules that the folder's C breaks, each with a place."""
    sources = sorted(p.name for p in folder.glob("*.c") if p.name != "main.c")
    command = ["cppcheck", "--std=c99", "--addon=misra", "--enable=style", "-D__GNUC__=12",
               "-D__ARM_FEATURE_DSP=1", "--suppress=missingIncludeSystem", "-q"]  # fmt: skip
    done = subprocess.run(
        [*command, *sources], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert "error:" not in done.stderr, done.stderr
    found = re.findall(r"^(\S+:\d+):.*\[misra-c2012-([\d.]+)\]$", done.stderr, re.MULTILINE)
    assert found, "the addon did not run"
    return {rule: place for place, rule in found}


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus"])
def test_only_named_rules_are_broken(core: str, tmp_path: Path) -> None:
    allowed = {rule for rules in MISRA for rule in rules.split(", ")}
    graphs = [residual(), *collect(3, dtype="int8", max_ops=4)]
    for n, graph in enumerate(graphs):
        folder = write_folder(export(arrange(graph, core)), tmp_path / str(n))
        others = {rule: at for rule, at in broken(folder).items() if rule not in allowed}
        assert not others, others
