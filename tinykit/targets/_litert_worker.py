"""Runs models in LiteRT (or its predecessors); the child process of `tinykit.targets.litert`."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tinykit.targets._worker import serve

#: the same interpreter under the names it has had, newest first
_HOMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


def answer(message: tuple[bytes, str, list[list[np.ndarray]]]) -> tuple[str, list[Any]]:
    """(model, resolver, samples) → package used, outputs of each sample.

    A home counts only when it can be invoked: tflite_runtime imports under numpy 2 and then fails.
    """
    model, resolver, samples = message
    failures = []
    for home in _HOMES:
        try:
            module = importlib.import_module(home)
        except ImportError as error:
            failures.append(f"{home}: {error}")
            continue
        try:
            return home.split(".")[0], _run(module, model, resolver, samples)
        except SystemError as error:
            failures.append(f"{home}: {error}")
    raise ImportError("; ".join(failures))


def _run(module: Any, model: bytes, resolver: str, samples: list[list[np.ndarray]]) -> list[Any]:
    # tensorflow.lite keeps its resolver types under `experimental`
    types = getattr(module, "OpResolverType", None) or module.experimental.OpResolverType
    interpreter = module.Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=getattr(types, resolver.upper()),
    )
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for number, sample in enumerate(samples):
        if len(sample) != len(inputs):
            raise ValueError(
                f"sample {number} has {len(sample)} arrays, the model {len(inputs)} inputs"
            )
        for details, value in zip(inputs, sample, strict=True):
            interpreter.set_tensor(details["index"], np.asarray(value, order="C"))
        interpreter.invoke()
        results.append([np.array(interpreter.get_tensor(d["index"])) for d in outputs])
    return results


if __name__ == "__main__":
    serve(answer)
