"""A log that several checkers share, each in stripes of its own, is checked as one."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from ledger.processes import ProcessDied
from ledger.verification.leaves import RANGE, LeafChecker
from ledger.verification.report import Problem, connect
from ledger.verification.texts import Missing
from projections import versions
from tests.storage.attack import SIZE, Attack
from tests.storage.log import Log, make


def _in_stripes(attack: Attack, stripes: int) -> list[Problem]:
    """The problems that so many checkers find, each in its own ranges of leaves."""
    problems = []
    for stripe in range(stripes):
        with connect(attack.url) as connection:
            kek = attack.backup.log.secrets.kek
            checker = LeafChecker(connection, kek, Missing({}, []), size=SIZE, stripe=stripe, stripes=stripes)
            problems += [leaves.problem for leaves in checker.ranges() if leaves.problem is not None]
    return problems


@pytest.mark.parametrize("stripes", [1, 2, 3])
@pytest.mark.parametrize("change", ["events + 1", "events - 1"])
def test_a_command_across_the_border_of_two_checkers_is_checked_by_both(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, stripes: int, change: str
):
    monkeypatch.setattr("ledger.verification.leaves.RANGE", 13)
    across = attack.run(
        "SELECT leaf_index FROM ledger.inbox WHERE events = 2 AND leaf_index % 13 = 12 ORDER BY leaf_index LIMIT 1"
    )
    assert _in_stripes(attack, stripes) == []
    for leaf in (across[0][0], across[0][0] + 20):
        attack.run(f"UPDATE ledger.inbox SET events = {change} WHERE leaf_index = %s", leaf)
        assert min(problem.leaf_index or 0 for problem in _in_stripes(attack, stripes)) in (leaf, leaf + 1)
        attack.undo()


def test_a_row_of_the_inbox_after_the_last_event_is_named(attack: Attack):
    with connect(attack.url) as connection:
        checker = LeafChecker(connection, None, Missing({}, []), size=SIZE - 1, stripe=0, stripes=1)
        (leaves,) = checker.ranges()
    assert leaves.problem is not None
    assert (leaves.problem.leaf_index, leaves.problem.message[-34:]) == (SIZE - 1, "is in the inbox and not in the log")


def test_no_timeout_of_the_database_ends_what_takes_as_long_as_the_log_is(database: str):
    shown = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
    with psycopg.connect(database, autocommit=True) as connection:
        name = Identifier(connection.info.dbname)
        connection.execute(SQL("ALTER DATABASE {} SET statement_timeout = '1h'").format(name))
        connection.execute(SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '1h'").format(name))
    with psycopg.connect(database) as connection:
        assert connection.execute(shown).fetchone() == ("1h", "1h")
    with connect(database) as reader, versions.connect(database, "test") as writer:
        assert (reader.execute(shown).fetchone(), writer.execute(shown).fetchone()) == (("0", "0"), ("0", "0"))


def test_a_long_log_is_checked_in_processes_and_the_first_wrong_leaf_of_all_is_named(
    log: Log, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ledger.verification.stripes.WORTH_A_PROCESS", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    size, done = 2 * RANGE + 500, []
    with log.open() as ledger:
        log._opened.clear()
        for start in range(0, size, 500):
            ledger.answer(ledger.append([make(number) for number in range(start, min(start + 500, size))]))
    assert log.verify(progress=lambda *where: done.append(where)).problem is None
    assert done == [(RANGE, size), (2 * RANGE, size), (size, size)]
    with psycopg.connect(log.url, autocommit=True) as connection:
        for leaf, first in ((2 * RANGE + 40,) * 2, (RANGE + 1000,) * 2):
            connection.execute("DELETE FROM ledger.sealed WHERE leaf_index = %s", (leaf,))
            problem = log.verify().problem
            assert problem is not None
            assert (problem.table, problem.leaf_index) == ("sealed", first)
        connection.execute("CREATE CAST (bytea AS text) WITHOUT FUNCTION")
        connection.execute("SET session_replication_role = replica")
        no_text = "UPDATE ledger.events SET topic = '\\xff'::bytea::text WHERE notification_id = %s"
        connection.execute(no_text, (RANGE + 5,))
        problem = log.verify().problem
        assert problem is not None
        assert (problem.table, problem.leaf_index) == ("events", RANGE + 4)
    monkeypatch.setattr("sys.executable", "/bin/true")
    with pytest.raises(ProcessDied):
        log.verify()
