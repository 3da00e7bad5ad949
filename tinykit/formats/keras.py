"""Keras → Graph, by TensorFlow's own converter in a process of its own.

TensorFlow never enters this process: next to torch it would take 700 MB, and a notebook kernel has
better uses for them. The child builds (and, if its code says so, trains) the model, converts it,
and hands back the ``.tflite`` file.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinykit.formats.tflite import read
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph

DTYPES = ("float32", "int8", "int16")

#: a saved model's path, Python source with a function `build`, a path to such, or the function
Source = str | os.PathLike[str] | Callable[..., Any]


class ConversionError(TinykitError, RuntimeError):
    """Building or converting the Keras model failed; the text has TensorFlow's last words."""


@dataclass(frozen=True)
class Converted:
    """What the converter made.

    Attributes
    ----------
    graph : the model, shape arithmetic folded away; inputs and outputs in the Keras model's order
    tflite : the file exactly as TensorFlow's converter wrote it (its inputs and outputs may stand
        in another order)
    log : what the child printed (training progress, for one)
    """

    graph: Graph
    tflite: bytes
    log: str = ""


@dataclass(frozen=True)
class Job:
    """One model to convert; see `convert`. `function` names the builder in the source."""

    source: Source
    representative: np.ndarray | Sequence[np.ndarray] | None = None
    dtype: str = "int8"
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    function: str = "build"
    seed: int = 0


def from_keras(
    source: Source,
    representative: np.ndarray | Sequence[np.ndarray] | None = None,
    dtype: str = "int8",
    **options: Any,
) -> Graph:
    """A Graph from a Keras model; `convert` without the file. See there for the parameters."""
    return convert(source, representative, dtype, **options).graph


def convert(
    source: Source,
    representative: np.ndarray | Sequence[np.ndarray] | None = None,
    dtype: str = "int8",
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    function: str = "build",
    seed: int = 0,
    timeout: float = 900,
) -> Converted:
    """Convert a Keras model with TensorFlow's converter.

    Parameters
    ----------
    source : where the model comes from, one of

        - a path to a ``.keras`` or ``.h5`` file or to a SavedModel folder
        - a function that returns the model and imports what it needs itself (its source is sent
          to the child, so it cannot use variables of the notebook)
        - Python source text, or a path to a ``.py`` file, with a function `build`
    representative : inputs, shape (N, ...), that set the activations' ranges; a sequence of such
        when the model has several inputs. Needed for int8 and int16.
    dtype : "int8", "int16" (16-bit activations, 8-bit weights) or "float32"
    arrays : handed to the builder as keyword arguments, training data for one
    function : the builder's name in source text
    seed : of Python's, numpy's and TensorFlow's random generators in the child
    timeout : seconds

    Raises
    ------
    MissingToolError
        TensorFlow is not installed.
    ConversionError
        The builder or the converter failed, or took too long.

    Examples
    --------
    ::

        def build(x, y):
            import keras

            model = keras.Sequential([keras.layers.Input((8, 8, 1)), ...])
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x, y, epochs=5, verbose=0)
            return model

        x, y = data.train
        graph = tk.from_keras(build, representative=x[:200], arrays={"x": x, "y": y})
    """
    job = Job(source, representative, dtype, dict(arrays or {}), function, seed)
    result = convert_all([job], timeout)[0]
    if isinstance(result, ConversionError):
        raise result
    return result


def convert_all(jobs: Sequence[Job], timeout: float = 900) -> list[Converted | ConversionError]:
    """Convert several models in one child, which starts TensorFlow once.

    Raises
    ------
    MissingToolError, ConversionError
        As `convert`, for what concerns all of them; a failure of one stands in its place.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingToolError(
            "converting Keras models needs TensorFlow: pip install 'tinyml-kit[tensorflow]'"
        )
    with tempfile.TemporaryDirectory(prefix="tinykit-keras-") as name:
        folder = Path(name)
        specs = [_spec(job, folder / str(i)) for i, job in enumerate(jobs)]
        (folder / "jobs.json").write_text(json.dumps(specs), encoding="utf-8")
        _run_child(folder, timeout)
        return [_result(folder / str(i)) for i in range(len(jobs))]


def _spec(job: Job, folder: Path) -> dict[str, Any]:
    """What the child has to know of a job; its arrays go to files in `folder`."""
    if job.dtype not in DTYPES:
        raise ConversionError(f"dtype {job.dtype!r}; known: {', '.join(DTYPES)}")
    if job.dtype != "float32" and job.representative is None:
        raise ConversionError(
            f"{job.dtype} needs `representative` inputs, which set the ranges of the activations"
        )
    folder.mkdir()
    if job.arrays:
        np.savez(folder / "arrays.npz", **dict(job.arrays))  # type: ignore[arg-type]
    if job.representative is not None:
        given = job.representative
        inputs = [given] if isinstance(given, np.ndarray) else [np.asarray(a) for a in given]
        np.savez(folder / "representative.npz", *inputs)
    return {**_origin(job), "dtype": job.dtype, "seed": job.seed}


def _origin(job: Job) -> dict[str, Any]:
    source, function = job.source, job.function
    if callable(source):
        try:
            text = textwrap.dedent(inspect.getsource(source))
        except (OSError, TypeError):
            raise ConversionError(
                "the builder's source cannot be found; give it as text instead"
            ) from None
        return {"text": text, "file": "builder", "function": source.__name__}
    if isinstance(source, str) and "\n" in source:
        return {"text": textwrap.dedent(source), "file": "source", "function": function}
    path = Path(source)
    if not path.exists():
        raise ConversionError(f"no such file or folder: {path}")
    if path.suffix == ".py":
        text = path.read_text(encoding="utf-8")
        return {"text": text, "file": path.name, "function": function}
    if not path.is_dir() and path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ConversionError(
            f"{path.name}: expected a .keras, .h5 or .py file or a SavedModel folder"
        )
    return {"path": str(path.resolve())}


def _run_child(folder: Path, timeout: float) -> None:
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    command = [sys.executable, "-m", "tinykit.formats._keras_worker", str(folder)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConversionError(
            f"TensorFlow did not finish within {timeout:g} s; give a longer `timeout`"
        ) from None
    if done.returncode:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        last = lines[-1] if lines else "it said nothing"
        raise ConversionError(f"TensorFlow's process ended with {how}: {last}")


def _result(folder: Path) -> Converted | ConversionError:
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    if "error" in outcome:
        return ConversionError(outcome["error"])
    data = (folder / "model.tflite").read_bytes()
    graph = read(data)
    ends = {
        end: tuple(getattr(graph, end)[i] for i in outcome[end])
        for end in ("inputs", "outputs")
        if end in outcome
    }
    return Converted(graph.replace(**ends), data, outcome["log"])
