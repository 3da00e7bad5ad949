"""Numbers, arrays and structs as C99 text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinykit.graph.ir import Tensor

#: dtype -> C type of one stored element; int4 is held packed, two values to a byte
C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "int4": "uint8_t",
    "bool": "uint8_t",
}


def number(value: Any) -> str:
    """A literal that C reads back as exactly `value`."""
    if type(value) is int and -(1 << 31) < value < 1 << 31:  # nearly all, so first
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if math.isnan(value):
            return '__builtin_nanf("")'
        if math.isinf(value):
            return ("-" if value < 0 else "") + "__builtin_inff()"
        return value.hex() + "f"
    value = int(value)
    if value == -(1 << 63):
        return "INT64_MIN"
    if value == -(1 << 31):
        return "INT32_MIN"
    return f"{value}LL" if abs(value) > (1 << 31) - 1 else str(value)


def array(name: str, ctype: str, values: np.ndarray, note: str = "") -> str:
    """A ``static const`` array; an empty one gets one element, which C demands."""
    flat = np.asarray(values).reshape(-1)
    write = float.hex if ctype == "double" else number
    texts = list(map(write, flat.tolist())) or ["0"]
    rows = (", ".join(texts[i : i + 16]) for i in range(0, len(texts), 16))
    lines = ",\n".join("    " + row for row in rows)
    head = f"/* {comment(note)} */\n" if note else ""
    return f"{head}static const {ctype} {name}[{max(flat.size, 1)}] = {{\n{lines}\n}};\n"


def struct(name: str, ctype: str, fields: dict[str, Any]) -> str:
    """A ``static const struct``; see `initializer` for the values."""
    body = "".join(f"    .{key} = {initializer(value)},\n" for key, value in fields.items())
    return f"static const struct {ctype} {name} = {{\n{body}}};\n"


def structs(name: str, ctype: str, rows: Sequence[dict[str, Any]]) -> str:
    """A ``static const`` array of structs."""
    body = "".join(f"    {initializer(row)},\n" for row in rows)
    return f"static const struct {ctype} {name}[{len(rows)}] = {{\n{body}}};\n"


def initializer(value: Any) -> str:
    """Strings are C expressions, dicts structs, sequences arrays; the rest are numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f".{k} = {initializer(v)}" for k, v in value.items()) + "}"
    if isinstance(value, np.ndarray):
        value = value.tolist()  # a number, where it has no axes
    if isinstance(value, (tuple, list)):
        return "{" + ", ".join(map(initializer, value)) + "}"
    return number(value)


def comment(text: str) -> str:
    """`text` made safe to stand inside a C comment: printable ASCII, no comment marks."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return text.replace("*/", "* /").replace("/*", "/ *").replace("??/", "? ? /")[:200]


def identifier(text: str) -> str:
    """`text` as a lower-case C identifier."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower() or "model"
    return name if not name[0].isdigit() else "m" + name


def describe(tensor: Tensor) -> str:
    """``name dtype (shape)``, for comments."""
    return f"{tensor.name} {tensor.dtype} {tensor.shape}"
