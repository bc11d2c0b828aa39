"""Fixtures of the storage tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.log import Log


@pytest.fixture
def log(database: str, data_dir: Path) -> Iterator[Log]:
    """An empty log with its keys; the ledgers opened on it are closed afterwards."""
    log = Log(database, data_dir)
    yield log
    log.close()
