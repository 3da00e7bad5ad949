"""Runs models in TFLite Micro; the child process of `tinykit.targets.tflm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinykit.targets._worker import serve


def answer(message: tuple[bytes, int, list[list[np.ndarray]]]) -> list[list[np.ndarray]]:
    """(model, arena size, samples) → outputs of each sample; the arena's use goes to the log.

    A sample is one array per model input. One interpreter serves all samples.
    """
    from tflite_micro import runtime
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    model, arena_bytes, samples = message
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    graph = schema.Model.GetRootAsModel(model, 0).Subgraphs(0)
    inputs, outputs = graph.InputsLength(), graph.OutputsLength()
    results = []
    for number, sample in enumerate(samples):
        if len(sample) != inputs:
            raise ValueError(f"sample {number} has {len(sample)} arrays, the model {inputs} inputs")
        for index, value in enumerate(sample):
            _check(interpreter.get_input_details(index), value, index)
            interpreter.set_input(np.asarray(value, order="C"), index)
        interpreter.invoke()
        results.append([np.array(interpreter.get_output(i)) for i in range(outputs)])
    interpreter.print_allocations()
    return results


def _check(details: dict[str, Any], value: np.ndarray, index: int) -> None:
    shape, dtype = tuple(int(d) for d in details["shape"]), np.dtype(details["dtype"])
    if value.shape != shape or value.dtype != dtype:
        raise ValueError(f"input {index} takes {dtype} {shape}, got {value.dtype} {value.shape}")


if __name__ == "__main__":
    serve(answer)
