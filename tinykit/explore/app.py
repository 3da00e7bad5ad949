"""Explorers as Voila apps: a generated notebook, our template, nothing from outside.

Without a name all explorers are served, with a page of links to them in front.
"""

from __future__ import annotations

import contextlib
import html
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from tinykit.graph.errors import MissingToolError, TinykitError

log = logging.getLogger(__name__)

PORT = 8866
#: how many ports are tried from the wanted one on
_PORTS = 20
#: an idle kernel (about 125 MB) is ended after this many seconds
_IDLE = 600
#: front-end extensions that the page loads
_EXTENSIONS = [
    "@voila-dashboards/widgets-manager8",
    "@jupyter-widgets/jupyterlab-manager",
    "anywidget",
]

#: the page that lists all apps, a template of Voila's
_INDEX = """{{% extends "page.html" %}}
{{% block title %}}tinykit{{% endblock %}}
{{% block body %}}
<h1>tinykit</h1>
<style>
li {{ line-height: 1.6; margin-bottom: 0.6em; }}
li a {{ color: #0072B2; text-decoration: underline; font-size: 120%; }}
li a:focus-visible {{ outline: 3px solid #0072B2; outline-offset: 1px; }}
</style>
<ul style="padding-left: 1.2em">
{}
</ul>
{{% endblock %}}
"""


class AppError(TinykitError, RuntimeError):
    """The app cannot be started; the text says why and what to do."""


def serve(
    name: str | None = None,
    *,
    port: int | None = None,
    open_browser: bool = True,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Serve an explorer, or all, until interrupted.

    Parameters
    ----------
    name : of the explorer; None serves all, with a page that links to them
    port : None takes `PORT` or, where that is taken, one of the next; a port that is asked for
        must be free
    open_browser : whether to open the address, once it answers
    tell : takes lines for people; None writes them to standard output

    Returns
    -------
    status : 0 when ended by Ctrl-C, else what Voila ended with

    Raises
    ------
    MissingToolError
        Voila is not installed.
    AppError
        No free port, or Voila ended before it answered (with the end of its log).
    UnknownExplorerError
    """
    tell = tell or _say
    chosen = free_port(PORT, _PORTS) if port is None else free_port(port, 1)
    with tempfile.TemporaryDirectory(prefix="tinykit-app-") as folder:
        what = write_index(Path(folder)) if name is None else write_notebook(name, Path(folder))
        logfile = Path(folder) / "voila.log"
        with logfile.open("wb") as out:
            process = subprocess.Popen(
                command(what, chosen),
                env=environment(what),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        address = f"http://localhost:{chosen}/"
        try:
            with contextlib.suppress(ValueError):  # only the main thread may
                signal.signal(signal.SIGTERM, _interrupt)
            _wait_until_it_answers(process, chosen, logfile)
            tell(f"The app is at {address} (Ctrl-C ends it)")
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            return process.wait()
        except KeyboardInterrupt:
            tell("The app has ended.")
            return 0
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write_index(folder: Path) -> Path:
    """All apps, and Voila's page of what there is; returns the folder to serve."""
    from tinykit import explore

    apps = folder / "apps"
    pages = _templates(apps) / "voila" / "templates" / "tinykit"
    for place in (apps, pages):
        place.mkdir(parents=True)
    lines = []
    for name in explore.available():
        explorer = explore.explorers()[name]
        write_notebook(name, apps)
        link = f"{{{{ base_url }}}}voila/render/{name}.ipynb"
        title, summary = html.escape(explorer.title), html.escape(explorer.summary)
        lines.append(f'<li><a href="{link}">{title}</a><br>{summary}.</li>')
    (pages / "tree.html").write_text(_INDEX.format("\n".join(lines)), encoding="utf-8")
    return apps


def _templates(apps: Path) -> Path:
    """Where `write_index` puts its page, a folder on Jupyter's path."""
    return apps.parent / "index"


def write_notebook(name: str, folder: Path) -> Path:
    """The app of explorer `name` as a notebook in `folder`; returns its path."""
    from tinykit import explore

    explorer = explore.explorers()[_known(name)]
    code = f"from tinykit import explore\nexplore.load({explorer.name!r}).view()"
    heading = f"# {explorer.title}\n{explorer.summary}."
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "title": f"{explorer.title} · tinykit",
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [
            {"id": "title", "cell_type": "markdown", "metadata": {}, "source": heading},
            {
                "id": "explorer", "cell_type": "code", "metadata": {}, "source": code,
                "execution_count": None, "outputs": [],
            },
        ],
    }  # fmt: skip
    path = folder / f"{explorer.name}.ipynb"
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
    return path


def command(
    what: Path, port: int, *, address: str = "127.0.0.1", preheat: bool = True
) -> list[str]:
    """The command line that serves a notebook, or a folder of them; run it with `environment`.

    Raises
    ------
    MissingToolError
        Voila is not installed.
    """
    if importlib.util.find_spec("voila") is None:
        raise MissingToolError("the app needs Voila, which is not installed: pip install voila")
    settings: dict[str, Any] = {
        "Voila.ip": address,
        "Voila.port": port,
        "Voila.port_retries": 0,
        "Voila.open_browser": False,
        "Voila.root_dir": str(what if what.is_dir() else what.parent),
        "VoilaConfiguration.classic_tree": True,
        # a dropped-in model comes as one message
        "Voila.tornado_settings": {"websocket_max_message_size": 64 * 1024 * 1024},
        "VoilaConfiguration.template": "tinykit",
        "VoilaConfiguration.extension_allowlist": _EXTENSIONS,
        "VoilaConfiguration.preheat_kernel": preheat,
        "MappingKernelManager.cull_interval": 60,
        "MappingKernelManager.cull_idle_timeout": _IDLE,
        "MappingKernelManager.cull_connected": False,
    }
    options = [f"--{key}={value}" for key, value in settings.items()]
    return [sys.executable, "-m", "voila", str(what), *options]


def environment(what: Path | None = None) -> dict[str, str]:
    """This process's environment, with our template on Jupyter's path.

    Parameters
    ----------
    what : what is served, where that may be a folder with an index
    """
    ours = [str(files("tinykit.explore") / "jupyter")]
    if what is not None and what.is_dir():
        ours.insert(0, str(_templates(what)))
    known = os.environ.get("JUPYTER_PATH")
    return {
        **os.environ,
        "JUPYTER_PATH": os.pathsep.join([*ours, known] if known else ours),
        # the kernel need not send every change of a knob back to where it came from
        "JUPYTER_WIDGETS_ECHO": "0",
    }


def free_port(first: int, tries: int) -> int:
    """The first free port of `tries` from `first` on.

    Raises
    ------
    AppError
    """
    if not 0 < first < 65536:
        raise AppError(f"port {first} does not exist; choose one from 1024 to 65535")
    for port in range(first, min(first + tries, 65536)):
        with socket.socket() as probe:
            # as servers do: a port that was just released counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError:
                raise AppError(
                    f"port {port} may not be used by this user; choose one above 1023"
                ) from None
            except OSError:
                continue
            return port
    if tries == 1:
        raise AppError(f"port {first} is taken; end what uses it, or choose another with --port")
    raise AppError(
        f"the ports {first} to {first + tries - 1} are all taken; choose another with --port"
    )


def _wait_until_it_answers(process: subprocess.Popen, port: int, logfile: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/voila/api/shutdown", timeout=1):
                return
        except urllib.error.HTTPError:
            return  # it answers, if only to say that this is no page
        except OSError:
            time.sleep(0.1)
    lines = logfile.read_text("utf-8", "replace").strip().splitlines()
    raise AppError("Voila did not start; the end of its log: " + " | ".join(lines[-5:]))


def _interrupt(*_: object) -> None:
    """Being told to end is like Ctrl-C: Voila must not outlive this process."""
    raise KeyboardInterrupt


def _known(name: str) -> str:
    from tinykit import explore

    explore.load(name)  # raises UnknownExplorerError
    return next(key for key in explore.names() if key.replace("_", "-") == name.replace("_", "-"))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
