"""Turns are taken by locks that every login may take: whoever waits for one says who has it, and goes on waiting."""

import logging
import threading
from collections.abc import Callable

import psycopg
import pytest

from ledger.storage import turns
from ledger.storage.migrations import migrate
from ledger.storage.turns import take_turn
from projections.runner import install
from projections.versions import connect, exclusive


def rebuilding(url: str) -> None:
    with connect(url, "rebuild") as connection:
        exclusive(connection)


@pytest.mark.parametrize(("name", "work"), [("migrate", migrate), ("projections", install), ("rebuild", rebuilding)])
def test_who_waits_for_its_turn_says_for_whom(
    name: str,
    work: Callable[[str], object],
    readable: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.0)
    said, failed = threading.Event(), []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.set()

    def working() -> None:
        try:
            work(readable)
        except Exception as error:
            failed.append(error)

    monkeypatch.setattr(turns._log, "handlers", [Heard()])
    waiting = threading.Thread(target=working)
    with psycopg.connect(readable, autocommit=True, application_name="Anna's tool") as other:
        take_turn(other, f"promise-ledger {name}", session=True)
        waiting.start()
        assert said.wait(30)
        assert waiting.is_alive()
        pid = other.info.backend_pid
    waiting.join(30)
    assert not waiting.is_alive()
    assert failed == []
    [sentence] = [record.getMessage() for record in caplog.records]
    expected = f"keeps the lock 'promise-ledger {name}': process {pid}, postgres, Anna's tool, connected since 20"
    assert expected in sentence
