"""Options and markers of the whole test run."""

from __future__ import annotations

import importlib.util
import os

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="all cases, those marked slow too")
    parser.addoption(
        "--plans", action="store_true", help="use plans on disk; run twice to test with them"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let the compiler run in every test, not only in the first run of one state of the source.

    Property tests draw the same cases in every run; with --full they draw new ones.
    """
    settings.register_profile("seeded", derandomize=True)
    settings.load_profile("default" if config.getoption("--full") else "seeded")
    if not config.getoption("--plans"):
        given = os.environ.get("SYMGRAPH_FLAGS")
        os.environ["SYMGRAPH_FLAGS"] = ",".join(filter(None, (given, "plans=0")))


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether everything is wanted, not a sample."""
    return bool(request.config.getoption("--full"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what this run cannot or should not do, with the reason."""
    no_torch = importlib.util.find_spec("torch") is None
    for item in items:
        if no_torch and item.get_closest_marker("torch"):
            item.add_marker(pytest.mark.skip(reason="torch is not installed: ./dev test --torch"))
        if item.get_closest_marker("slow") and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="slow: ./dev test --full"))
