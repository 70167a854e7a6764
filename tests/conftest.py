"""What several test modules share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """A real, temporary Prefect server (10 s, once a session); its address for child processes.

    It has a string of its own, as Ouro's servers have; children find it in the environment.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    from prefect import settings
    from prefect.testing.utilities import prefect_test_harness

    auth = f"admin:{secrets.token_urlsafe(24)}"
    overrides: dict[Any, str] = {settings.PREFECT_API_AUTH_STRING: auth, settings.PREFECT_SERVER_API_AUTH_STRING: auth}
    with pytest.MonkeyPatch.context() as patch:
        for setting in overrides:
            patch.setenv(setting.name, auth)
        with settings.temporary_settings(overrides), prefect_test_harness(server_startup_timeout=120):
            yield str(settings.PREFECT_API_URL.value())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow on a machine that does other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests wait for killed trainings and servers go first: started last, one worker ends alone."""
    long = (
        "test_training.py",
        "test_bootstrap.py",
        "test_flows.py",
        "test_trainer.py",
        "test_annotator.py",
        "test_nano.py",
        "test_asking.py",
    )
    items.sort(key=lambda item: long.index(item.path.name) if item.path.name in long else len(long))
