"""The child's side of `tinykit.targets._child`: read a request, answer it, until the input ends."""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

from tinykit.targets._child import HEADER


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer requests until standard input ends.

    `answer` maps a message to a reply. What it raises becomes the reply ``("error", kind, text)``;
    what it returns becomes ``("ok", value)``. Whatever is printed to standard output, by C++ too,
    is sent to standard error, which the parent has as a file.
    """
    _no_core_files()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    libc = ctypes.CDLL(None)
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        message = pickle.loads(requests.read(HEADER.unpack(header)[0]))
        try:
            reply: tuple[Any, ...] = ("ok", answer(message))
        except ImportError as error:
            reply = ("error", "missing", str(error))
        except Exception as error:
            reply = ("error", type(error).__name__, str(error))
        libc.fflush(None)  # stdio holds back what it writes to a file
        payload = pickle.dumps(reply, protocol=5)
        replies.write(HEADER.pack(len(payload)))
        replies.write(payload)
        replies.flush()


def _no_core_files() -> None:
    # Aborts are expected here; they should not litter the working directory.
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
