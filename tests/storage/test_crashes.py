"""An append that fails or dies between any two of its steps: submitted again, everything is there once."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import orjson
import psycopg
import pytest
from eventsourcing.persistence import PersistenceError
from psycopg.sql import SQL, Identifier

from ledger.app import Ledger
from ledger.deciding import Batch
from ledger.storage.recorder import Append
from ledger.storage.signer import CheckpointSigner
from tests.storage.log import Log, claim, make, recorded, tell, told

BEFORE = [make(1), make(2), tell(1)]
BATCH = [make(3), claim(1), make(4), claim(9), tell(3), make(1)]
SIZE = 4 + 6


def check_all_there_once(log: Log, ledger: Ledger) -> None:
    """The batch submitted again, twice, and by a new service: one answer, one history."""
    answers = told(ledger, *BATCH)
    assert [answer["status"] for answer in answers] == ["recorded"] * 3 + ["refused"] + ["recorded"] * 2
    for again in (told(ledger, *BATCH), told(log.open(), *BATCH)):
        for one, other in zip(answers, again, strict=True):
            assert (one == other) if one["status"] == "refused" else (recorded(one) == recorded(other))
            if one["status"] == "recorded":
                log.check_receipt(other)
    told(ledger, make(5))
    ids = [orjson.loads(state)["command_id"] for state in log.states()]
    assert sorted(ids) == sorted(["m-1", "m-2", "d-1", "d-1", "m-3", "k-1", "m-4", "k-9", "d-3", "d-3", "m-5"])
    log.check_clean(SIZE + 1)


TRIGGER = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON ledger.{} {} FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.mark.parametrize(
    "fault", ["RAISE 'no';", "PERFORM pg_terminate_backend(pg_backend_pid());"], ids=["error", "cut"]
)
@pytest.mark.parametrize("at", ["", "DEFERRABLE INITIALLY DEFERRED"], ids=["statement", "commit"])
@pytest.mark.parametrize("table", ["events", "sealed", "head"])
def test_a_write_that_fails_leaves_nothing_behind(log: Log, table: str, at: str, fault: str):
    ledger = log.open()
    told(ledger, *BEFORE)
    before = log.states()
    with psycopg.connect(log.url) as connection:
        connection.execute(TRIGGER.format(fault, table, at).encode())
    with pytest.raises(PersistenceError):
        ledger.submit(BATCH)
    assert log.states() == before
    with psycopg.connect(log.url) as connection:
        connection.execute(SQL("DROP TRIGGER fail ON {}").format(Identifier("ledger", table)))
    check_all_there_once(log, ledger)


def _cut(log: Log) -> None:
    """Every connection to the database is ended, as when the server restarts."""
    with psycopg.connect(log.url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


STEPS: dict[str, tuple[type, str]] = {
    "before deciding": (Batch, "decide"),
    "before writing": (Append, "write"),
    "before signing": (CheckpointSigner, "cover"),
    "before storing the checkpoint": (CheckpointSigner, "flush"),
    "before reading earlier answers": (Ledger, "stored_entries"),
    "before proving earlier answers": (Ledger, "inclusion_proofs"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("cut", [True, False], ids=["connection lost", "exception"])
def test_a_failure_between_two_steps_is_made_good_by_submitting_again(
    log: Log, monkeypatch: pytest.MonkeyPatch, step: str, cut: bool
):
    ledger = log.open()
    told(ledger, *BEFORE)
    owner, name = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)

    def failing(*arguments: Any, **named: Any) -> Any:
        if not cut:
            raise RuntimeError("our own fault")
        _cut(log)
        return original(*arguments, **named)

    with monkeypatch.context() as fault:
        fault.setattr(owner, name, failing)
        try:
            ledger.submit(BATCH)
        except (PersistenceError, RuntimeError):
            pass
        else:  # between two uses of the database a lost connection is replaced, and nobody notices
            assert cut or step == "before storing the checkpoint"
    check_all_there_once(log, ledger)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from ledger.app import Ledger
    from ledger.settings import Settings
    from ledger.storage.recorder import LogRecorder
    from ledger.storage.signer import CheckpointSigner
    from tests.storage.log import NOON
    from tests.storage.test_crashes import BATCH, BEFORE

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    url, data_dir, when = sys.argv[1:]
    ledger = Ledger.open(Settings(data_dir=Path(data_dir), database_url=url), clock=lambda: NOON)
    ledger.submit(BEFORE)
    if when == "before the commit":
        from ledger.storage.recorder import Append
        write = Append.write
        Append.write = lambda *a, **n: die(write(*a, **n))
    elif when == "after the commit, before signing":
        CheckpointSigner.cover = die
    elif when == "after signing, before answering":
        cover = CheckpointSigner.cover
        CheckpointSigner.cover = lambda *a, **n: die(cover(*a, **n))
    ledger.submit(BATCH)
"""


@pytest.mark.parametrize(
    ("when", "size"),
    [
        ("before the commit", 4),
        ("after the commit, before signing", SIZE),
        ("after signing, before answering", SIZE),
    ],
)
def test_kill_9_loses_nothing_and_doubles_nothing(log: Log, when: str, size: int):
    script = [sys.executable, "-c", textwrap.dedent(KILLED), log.url, str(log.settings.data_dir), when]
    ended = subprocess.run(script, timeout=60, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(log.states()) == size
    report = log.verify()
    assert report.problem is None
    assert report.signed_size == (size if when.startswith("after signing") else 4)
    check_all_there_once(log, log.open())
