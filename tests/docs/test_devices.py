"""docs/devices.md says what is in the catalogue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tinykit.federated.system import catalogue


def test_the_committed_table_is_the_generated_one(root: Path) -> None:
    made = subprocess.run(
        [sys.executable, str(root / "docs" / "make_devices.py"), "-"],
        capture_output=True,
        check=True,
    )
    committed = (root / "docs" / "devices.md").read_bytes()
    assert committed == made.stdout, "run python docs/make_devices.py"


def test_every_device_and_every_source_is_in_it(root: Path) -> None:
    text = (root / "docs" / "devices.md").read_text("utf-8")
    for device in catalogue().devices.values():
        assert f"| `{device.name}` |" in text
        assert device.training_macs_per_s.source in text
