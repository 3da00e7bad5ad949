"""The rules of the house: who may import what, and what `import tinykit` may cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tinykit
from tests.house_rules import FLOORS, check_tree, violations

LAZY = tinykit._LAZY


def test_every_import_keeps_the_rules(root: Path) -> None:
    found = check_tree(root / "tinykit", LAZY)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "part"),
    [
        ("graph/x.py", "x = 1\nimport ipywidgets", "graph/x.py:2: ipywidgets below floor 7"),
        ("plots/x.py", "from IPython.display import display", "IPython below floor 7"),
        ("graph/x.py", "from tinykit.engine.plan import plan", "imports engine (floor 2)"),
        ("engine/x.py", "from tinykit.formats import tflite", "formats (floor 2)"),
        ("engine/x.py", "from ..targets import Board", "imports targets (floor 3)"),
        ("engine/kernels/x.py", "from ...quant import ptq", "imports quant (floor 3)"),
        ("data/x.py", "def f():\n    from tinykit import fit\n", "data/x.py:2: data (floor 1)"),
        ("data/x.py", "import tinykit as tk", "import the room, not tinykit"),
        ("data/x.py", "import importlib\nimportlib.import_module('tinykit.nn')", "nn (floor 2)"),
        ("graph/x.py", "if TYPE_CHECKING:\n    from tinykit.nn import zoo", "nn (floor 2)"),
        ("targets/x.py", "import torch", "torch outside"),
        ("formats/x.py", "def f():\n    from torch import nn\n", "torch outside"),
        ("formats/keras.py", "import tensorflow as tf", "tensorflow outside the subprocess"),
        ("nn/x.py", "import keras", "keras outside the subprocess"),
        ("nn/x.py", "from torch.nn import *", "star import"),
        ("engine/x.py", "def f():\n    print('x')", "engine/x.py:2: print()"),
        ("attic/x.py", "x = 1", "room 'attic' has no floor"),
    ],
)
def test_checker_catches(path: str, source: str, part: str) -> None:
    found = violations(path, source, LAZY)
    assert len(found) == 1
    assert part in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/x.py", "from tinykit.graph import Graph\nimport numpy as np"),
        ("data/x.py", "from tinykit.graph.errors import TinykitError"),
        ("engine/kernels/x.py", "from .. import plan\nfrom . import conv"),
        ("targets/x.py", "if TYPE_CHECKING:\n    import torch"),
        ("formats/torch_export.py", "import torch"),
        ("explore/x.py", "import ipywidgets\nfrom tinykit.plots import bars"),
        ("demo/x.py", "import tinykit as tk\nprint(tk)"),
        ("cli.py", "from tinykit import __version__\nprint(__version__)"),
    ],
)
def test_checker_allows(path: str, source: str) -> None:
    assert violations(path, source, LAZY) == []


def test_rooms_on_the_page_are_the_rooms_checked(root: Path) -> None:
    """docs/architecture.md and the checker agree on every room that exists and its floor."""
    page: dict[str, int] = {}
    for line in (root / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].isdigit():
            for part in cells[2].split(","):
                name = part.strip().strip("`").removeprefix("tinykit/").strip("/")
                page[name.removesuffix(".py")] = int(cells[1])
    there = {p.name for p in (root / "tinykit").iterdir() if (p / "__init__.py").exists()}
    assert there <= set(page), "rooms that docs/architecture.md does not name"
    assert page == {room: FLOORS[room] for room in page}


IMPORT = """
import json, sys
import tinykit
heavy = {"torch", "scipy", "plotly", "ipywidgets", "IPython", "tensorflow", "unicorn"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""


def test_import_tinykit_is_light() -> None:
    # how long it takes is measured by `python -m tests.benchmarks startup`
    run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


def test_every_public_name_exists_when_used() -> None:
    code = "import tinykit\nfor name in tinykit.__all__: getattr(tinykit, name)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
