"""Prepare a Jupyter server to show the apps: a notebook for each, and Voila's settings.

``python binder/prepare.py [FOLDER [CONFIG]]`` writes FOLDER/app/NAME.ipynb (default: here), which
the server shows at ``voila/render/app/NAME.ipynb``, and CONFIG/jupyter_server_config.json (default:
``~/.jupyter``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tinykit import explore
from tinykit.explore import app


def main(folder: Path, config: Path) -> None:
    place = folder / "app"
    place.mkdir(parents=True, exist_ok=True)
    for name in explore.available():
        app.write_notebook(name, place)
    settings = {
        "VoilaConfiguration": {"template": "tinykit", "extension_allowlist": app._EXTENSIONS},
        "MappingKernelManager": {"cull_interval": 60, "cull_idle_timeout": app._IDLE},
        "ServerApp": {"tornado_settings": {"websocket_max_message_size": 64 * 1024 * 1024}},
    }
    config.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=2) + "\n"
    (config / "jupyter_server_config.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(given[0] if given else Path(), given[1] if len(given) > 1 else Path.home() / ".jupyter")
