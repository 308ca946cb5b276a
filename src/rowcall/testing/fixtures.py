"""Fixtures for pytest, for those who ask: ``pytest_plugins = ["rowcall.testing.fixtures"]`` in ``conftest.py``.

They are no ``pytest11`` entry point, because pytest would then load them, and Rowcall with them, in every run of everybody
who has Rowcall installed.
"""

from __future__ import annotations

from typing import Any

import pytest

from rowcall import errors
from rowcall.app import Rowcall
from rowcall.testing.delivery import Delivery


@pytest.fixture
def rowcall_app() -> Rowcall:
    """The app whose handlers are tested: define this fixture to return yours."""
    raise errors.UsageError("Define a fixture rowcall_app that returns your Rowcall app.")


@pytest.fixture
def rowcall_connection(request: pytest.FixtureRequest) -> Any:
    """The connection, or the SQLAlchemy session, of the test: pytest-postgresql's ``postgresql`` unless you define it anew."""
    return request.getfixturevalue("postgresql")


@pytest.fixture
def rowcall_delivery(rowcall_app: Rowcall, rowcall_connection: Any) -> Delivery:
    """Delivers what the test's connection does from here on: ``rowcall_delivery.deliver()``."""
    return Delivery.over(rowcall_app, rowcall_connection)
