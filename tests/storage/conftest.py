"""Fixtures of the storage tests."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.storage.attack import Attack, Backup, backed_up
from tests.storage.log import Log


@pytest.fixture
def log(database: str, data_dir: Path) -> Iterator[Log]:
    """An empty log with its keys; the ledgers opened on it are closed afterwards."""
    log = Log(database, data_dir)
    yield log
    log.close()


@pytest.fixture(scope="session")
def backup(postgres_url: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backup]:
    template_url = urlsplit(postgres_url)._replace(path=f"/{_template}").geturl()
    with backed_up(template_url, tmp_path_factory.mktemp("tampering")) as backup:
        yield backup


@pytest.fixture(scope="session")
def attacked(backup: Backup) -> Iterator[Attack]:
    attack = Attack(backup)
    yield attack
    attack.sql.close()


@pytest.fixture
def attack(attacked: Attack) -> Iterator[Attack]:
    """The log under attack; afterwards it is as it was."""
    yield attacked
    attacked.undo()
