"""`verify` against whoever hides a row while the honest service records something over it, and puts it back."""

import psycopg
import pytest

from ledger.app import Ledger, Submission
from ledger.storage.guard import ForkGuard
from ledger.storage.recorder import LogRecorder, authenticator, open_datastore
from tests.storage.log import Log, make, submission, told

READ_BACK = submission("promise.read_back", "r-1", promise_id="P-1", confirmed=True)


@pytest.mark.parametrize(
    ("hidden", "command", "table", "sentence"),
    [
        (
            "DELETE FROM ledger.events WHERE originator_id = 'promise:P-1'",
            make(1, command_id="again"),
            "events",
            "two events have this place in their stream: one was hidden meanwhile",
        ),
        (
            "DELETE FROM ledger.inbox WHERE command_id = 'r-1'",
            READ_BACK,
            "inbox",
            "command r-1 of crm was decided twice: it was hidden meanwhile",
        ),
    ],
    ids=["an event", "a command"],
)
def test_a_row_that_was_hidden_while_something_was_recorded_over_it_is_found(
    log: Log, hidden: str, command: Submission, table: str, sentence: str
):
    """The hidden row is put back: every hash fits then, and the log says two things at one place or one thing twice."""
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, make(1), READ_BACK, *(make(number) for number in range(2, 300)))
    with psycopg.connect(log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("CREATE TABLE public.kept_events AS TABLE ledger.events")
        owner.execute("CREATE TABLE public.kept_inbox AS TABLE ledger.inbox")
        owner.execute(hidden.encode())
        with log.open() as ledger:
            log._opened.clear()
            assert told(ledger, command)[0]["status"] == "recorded"
        owner.execute("DROP INDEX ledger.events_stream")
        owner.execute("ALTER TABLE ledger.inbox DROP CONSTRAINT inbox_pkey")
        for name in ("events", "inbox"):
            owner.execute(f"INSERT INTO ledger.{name} (TABLE public.kept_{name} EXCEPT TABLE ledger.{name})".encode())
    problem = log.verify().problem
    assert problem is not None
    assert (problem.table, problem.message) == (table, sentence)


def test_an_erasure_over_a_hidden_hold_is_found(log: Log):
    with log.open() as ledger:
        log._opened.clear()
        hold = submission("hold.place", "h-1", customer_id="C-1", hold_id="H-1", grounds="suit-7", approver="u-9")
        told(ledger, make(1), hold)
        told(ledger, *(make(number) for number in range(2, 300)))
    with psycopg.connect(log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        (row,) = owner.execute("DELETE FROM ledger.events WHERE originator_id = 'hold:C-1' RETURNING *").fetchall()
        recorder = LogRecorder(open_datastore(log.url), authenticator(log.secrets.digest))
        running = Ledger(
            recorder, secrets=log.secrets, origin=log.settings.origin, guard=ForkGuard(log.settings.guard_path)
        )
        erase = submission("subject.erase", "e-1", customer_id="C-1", grounds="art-17")
        assert told(running, erase)[0]["status"] == "recorded"
        running.close()
        owner.execute("INSERT INTO ledger.events VALUES (%s, %s, %s, %s, %s, %s)", row)
    problem = log.verify().problem
    assert problem is not None
    assert "ordered while a hold stood" in problem.message
