"""The apps, served once for all tests; a Chromium, or a reason to skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import (
    Watched,
    browsing,
    chromium,
    open_app,
    serving_notebook,
    watched_page,
)
from tinykit.explore.app import write_index, write_notebook


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: opens an app in Chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    # Not for the session: while Playwright is up, nothing else in this process can use asyncio.
    if chromium() is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with browsing() as found:
        yield found


@pytest.fixture(scope="session")
def app_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of "Compress and deploy" under Voila."""
    notebook = write_notebook("compress-deploy", tmp_path_factory.mktemp("app"))
    with serving_notebook(notebook) as address:
        yield address


@pytest.fixture(scope="session")
def index_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page of all apps under Voila."""
    with serving_notebook(write_index(tmp_path_factory.mktemp("index"))) as address:
        yield address


@pytest.fixture
def page(browser: object) -> Iterator[Watched]:
    seen = watched_page(browser)
    yield seen
    seen.page.close()


@pytest.fixture
def app_page(page: Watched, app_address: str) -> Watched:
    """The app, opened and drawn."""
    open_app(page, app_address)
    return page
