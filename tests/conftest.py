"""Fixtures and settings that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Runs are repeatable: the same examples every time, and no deadline on a loaded machine.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of the two MLPerf Tiny reference models, where they lie beside the checkout."""
    folder = Path(os.environ.get("TINYKIT_MODELS", ROOT.parent / "shared" / "models"))
    if not folder.is_dir():
        pytest.skip("the MLPerf Tiny models are not beside the checkout (set TINYKIT_MODELS)")
    return folder
