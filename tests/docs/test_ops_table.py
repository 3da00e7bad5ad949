"""docs/ops.md says what is registered, and what TFLite Micro has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tinykit.formats import tflite
from tinykit.formats.tflite.schema import BUILTIN_CODES
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.registry import OPSET
from tinykit.targets import tflm


def test_the_committed_table_is_the_generated_one(root: Path) -> None:
    # in a process of its own: tests register backends too
    made = subprocess.run(
        [sys.executable, str(root / "docs" / "make_ops.py"), "-"], capture_output=True, check=True
    )
    committed = (root / "docs" / "ops.md").read_bytes()
    assert committed == made.stdout, "run python docs/make_ops.py"


@pytest.mark.parametrize("kind", sorted(OPSET))
def test_tflite_micro_has_what_the_table_says(kind: str) -> None:
    """It looks an op's code up before it looks at anything else of the op."""
    import flatbuffers

    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    model = tflite.write(b.finish([b.op("relu", [x], (1, 4), "float32")]))
    parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    code = BUILTIN_CODES[kind]
    parsed.operatorCodes[0].builtinCode = code
    parsed.operatorCodes[0].deprecatedBuiltinCode = min(code, 127)
    builder = flatbuffers.Builder(1024)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    try:
        tflm.run(bytes(builder.Output()), [np.zeros((1, 4), np.float32)])
        said = ""
    except tflm.TflmError as error:  # the model is nonsense to most ops; some abort on it
        said = f"{error}"
    lacks = "Didn't find op for builtin opcode" in said
    assert lacks == (kind in tflm.LACKS), said
