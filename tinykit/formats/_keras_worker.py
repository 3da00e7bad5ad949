"""The child of `tinykit.formats.keras`: the only place where TensorFlow is imported.

``python -m tinykit.formats._keras_worker FOLDER`` reads FOLDER/jobs.json and leaves, for job i,
FOLDER/i/outcome.json and, when it succeeded, FOLDER/i/model.tflite.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    jobs = json.loads((folder / "jobs.json").read_text(encoding="utf-8"))
    modules: dict[str, dict[str, Any]] = {}
    for index, job in enumerate(jobs):
        place = folder / str(index)
        printed = io.StringIO()
        outcome: dict[str, Any]
        try:
            with contextlib.redirect_stdout(printed):
                data, names = _convert(job, place, modules)
                order = _order(data, names)
            (place / "model.tflite").write_bytes(data)
            outcome = {"log": printed.getvalue(), **order}
        except Exception as error:  # whatever it is belongs to this job, not to its neighbours
            outcome = {"error": _explain(error, job)}
        (place / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def _convert(
    job: dict[str, Any], place: Path, modules: dict[str, dict[str, Any]]
) -> tuple[bytes, list[str]]:
    """The file, and the names of the inputs in the model's order (none for a SavedModel)."""
    import keras
    import tensorflow as tf

    keras.utils.clear_session()  # layers are numbered afresh, so that names do not tell the order
    keras.utils.set_random_seed(job["seed"])
    path, names = job.get("path"), []
    if path is not None and Path(path).is_dir():
        converter = tf.lite.TFLiteConverter.from_saved_model(path)
    else:
        if path is not None:
            model = keras.models.load_model(path, compile=False)
        else:
            model = _build(job, place, modules)
        names = [tensor.name for tensor in model.inputs]
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if job["dtype"] != "float32":
        ops = tf.lite.OpsSet
        kind, allowed = {
            "int8": (tf.int8, ops.TFLITE_BUILTINS_INT8),
            "int16": (
                tf.int16,
                ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            ),
        }[job["dtype"]]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _samples(place / "representative.npz", names)
        converter.target_spec.supported_ops = [allowed]
        converter.inference_input_type = converter.inference_output_type = kind
    return converter.convert(), names


def _build(job: dict[str, Any], place: Path, modules: dict[str, dict[str, Any]]) -> Any:
    """Run the source once, however many of its builders are called."""
    text, function = job["text"], job["function"]
    module = modules.get(text)
    if module is None:
        # Registered with linecache so that errors can quote the line they come from.
        linecache.cache[job["file"]] = (len(text), None, text.splitlines(True), job["file"])
        module = modules[text] = {"__name__": "tinykit_keras_source"}
        exec(compile(text, job["file"], "exec"), module)
    if not callable(module.get(function)):
        raise NameError(f"the source defines no function {function}()")
    arrays = {}
    if (place / "arrays.npz").exists():
        with np.load(place / "arrays.npz") as stored:
            arrays = dict(stored)
    model = module[function](**arrays)
    if not hasattr(model, "inputs"):
        raise TypeError(f"{function}() should return a Keras model, it returned {model!r}")
    return model


def _samples(path: Path, names: list[str]) -> Iterator[Any]:
    """One sample at a time: by the inputs' names where they are known, else in order."""
    with np.load(path) as stored:
        inputs = [stored[f"arr_{i}"].astype(np.float32) for i in range(len(stored.files))]
    if names and len(names) != len(inputs):
        raise ValueError(f"{len(inputs)} representative arrays for a model of {len(names)} inputs")
    for i in range(len(inputs[0])):
        sample = [values[i : i + 1] for values in inputs]
        yield dict(zip(names, sample, strict=True)) if names else sample


def _order(data: bytes, names: list[str]) -> dict[str, list[int]]:
    """Where the model's inputs and outputs stand among those of the file, which shuffles them."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about where the interpreter will live one day
        interpreter = tf.lite.Interpreter(
            model_content=data, experimental_op_resolver_type=_resolver(tf)
        )
    ends = {
        "inputs": [d["index"] for d in interpreter.get_input_details()],
        "outputs": [d["index"] for d in interpreter.get_output_details()],
    }
    signatures = interpreter._get_full_signature_list()
    if not names or len(signatures) != 1:
        return {}
    (signature,) = signatures.values()
    wanted = {
        "inputs": names,
        "outputs": [f"output_{i}" for i in range(len(signature["outputs"]))],
    }
    return {
        end: [ends[end].index(signature[end][name]) for name in wanted[end]]
        for end in ends
        if set(wanted[end]) == set(signature[end])
    }


def _resolver(tf: Any) -> Any:
    return tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def _explain(error: Exception, job: dict[str, Any]) -> str:
    """The error in a line or two: where in the user's source, if there, and the last words."""
    words = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    said = f"{type(error).__name__}: {words[-1] if words else 'no message'}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == job.get("file")]
    if frames:
        return f"{frames[-1].filename}, line {frames[-1].lineno} ({frames[-1].line}): {said}"
    return f"TensorFlow could not convert the model: {said}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
