"""Fixtures of the storage tests."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ledger.tlog.note import Signer
from tests.conftest import _copy
from tests.storage.attack import Attack, Backup, backed_up
from tests.storage.log import Log, make, tell, told
from tests.storage.place import Place, Signatures


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


@pytest.fixture
def place(log: Log) -> Place:
    """A log with 300 events under two checkpoints."""
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, *(make(number) for number in range(250)), *(tell(number) for number in range(25)))
    return Place(log, log.settings)


@pytest.fixture
def database_b(postgres_url: str, _template: str) -> Iterator[str]:
    """A second empty, migrated database."""
    with _copy(postgres_url, _template) as url:
        yield url


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Signatures]:
    """What was signed is looked at after the test."""
    signatures, sign = Signatures(), Signer.sign

    def noted(signer: Signer, text: str) -> bytes:
        note = sign(signer, text)
        signatures.notes.append(note)
        return note

    monkeypatch.setattr(Signer, "sign", noted)
    yield signatures
    signatures.check()
