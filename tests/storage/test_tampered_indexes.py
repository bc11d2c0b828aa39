"""`verify` against the owner of the database who switches an index off and on, so that readers see different rows."""

from collections.abc import Iterator

import pytest

from ledger.verification.definitions import expected
from tests.storage.attack import SIZE, Attack


@pytest.fixture
def indexed(attack: Attack) -> Iterator[Attack]:
    """The log under attack with its indexes; readers take one wherever one leads to a row."""
    indexes = {
        what: made
        for (place, what), made in expected().items()
        if what.startswith("index ledger.") and place != "ledger.head"
    }
    for made in indexes.values():
        attack.run(made)
    attack.run("ALTER DATABASE ledger_tampering SET enable_seqscan = off")
    attack.run("ALTER DATABASE ledger_tampering SET enable_bitmapscan = off")
    yield attack
    attack.run("ALTER DATABASE ledger_tampering RESET ALL")
    for what in indexes:
        attack.run(f"DROP {what}")


def _switch(attack: Attack, index: str, on: bool) -> None:
    attack.run("UPDATE pg_index SET indisready = %s, indisvalid = %s WHERE indexrelid = %s::regclass", on, on, index)


def test_an_index_that_was_off_while_a_row_was_written_is_named(indexed: Attack):
    """Whoever reads by it does not see the row: a stream's last event, a command that was answered before."""
    assert indexed.verify().problem is None
    indexes = indexed.run(
        "SELECT indrelid::regclass::text, indexrelid::regclass::text FROM pg_index JOIN pg_class ON oid = indrelid"
        " WHERE relnamespace = 'ledger'::regnamespace ORDER BY 2"
    )
    assert len(indexes) == 10
    for table, index in indexes:
        _switch(indexed, index, False)
        indexed.run(
            f"WITH row AS (DELETE FROM {table} WHERE ctid = (SELECT max(ctid) FROM {table}) RETURNING *)"
            f" INSERT INTO {table} TABLE row"
        )
        _switch(indexed, index, True)
        problem = indexed.verify().problem
        assert problem is not None, index
        assert problem.table == table.removeprefix("ledger."), index
        indexed.run(f"REINDEX INDEX {index}")
    assert indexed.verify().problem is None


def test_a_forged_twin_that_only_the_index_of_its_stream_leads_to_is_found(indexed: Attack):
    twin = "INSERT INTO ledger.events SELECT * FROM twin"
    indexed.run("CREATE TEMP TABLE twin AS SELECT * FROM ledger.events WHERE notification_id = 8")
    _switch(indexed, "ledger.events_stream", False)
    indexed.run("DELETE FROM ledger.events WHERE notification_id = 8")
    indexed.run(twin)
    _switch(indexed, "ledger.events_stream", True)
    _switch(indexed, "ledger.events_pkey", False)
    indexed.run("UPDATE twin SET state = overlay(state PLACING 'x'::bytea FROM octet_length(state) / 2)")
    indexed.run(twin)
    _switch(indexed, "ledger.events_pkey", True)
    problem = indexed.verify().problem
    assert problem is not None
    assert (problem.table, f"{SIZE + 1} rows" in problem.message) == ("events", True)
    indexed.run("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_seqscan = on")
    indexed.undo()
    indexed.run("RESET enable_indexscan; RESET enable_indexonlyscan; RESET enable_seqscan")
    indexed.run("DROP TABLE twin")
