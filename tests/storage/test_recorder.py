"""The recorder as eventsourcing wants it, and what this log asks beyond that: dense numbers, one order, append-only."""

import random
from collections.abc import Collection, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.tests import persistence as contract
from psycopg.rows import tuple_row

from ledger.storage.recorder import EventRow, LogRecorder, open_datastore
from ledger.storage.tree import TreeReader
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.proofs import verify_consistency, verify_inclusion
from tests.storage.log import Log
from tests.tlog.naive import naive_consistency, naive_inclusion


@pytest.fixture
def recorder(log: Log) -> Iterator[LogRecorder]:
    recorder = LogRecorder(open_datastore(log.url, pool_size=4))
    yield recorder
    recorder.datastore.close()


class TestContract(contract.ApplicationRecorderTestCase[LogRecorder]):
    """The library's own cases. Left out, for they measure and assert nothing: performance and throughput."""

    test_performance = None
    test_concurrent_throughput = None

    @pytest.fixture(autouse=True)
    def _recorder(self, recorder: LogRecorder) -> None:
        self.recorder = recorder

    def create_recorder(self) -> LogRecorder:
        return self.recorder

    def new_originator_id(self) -> str:
        return f"promise:{uuid4()}"


def stored(stream: str, version: int, state: bytes = b"{}") -> StoredEvent:
    return StoredEvent(stream, version, "promise.made", state)


def test_every_part_of_the_database_address_holds_for_the_log(log: Log):
    datastore = open_datastore(f"{log.url}&application_name=intake-7&sslmode=disable", pool_size=1)
    with datastore.get_connection() as connection:
        asked = connection.info.get_parameters()
    datastore.close()
    assert (asked["application_name"], asked["sslmode"]) == ("intake-7", "disable")


def test_a_stream_has_each_version_once_and_a_refused_append_leaves_no_gap(recorder: LogRecorder):
    assert recorder.insert_events([stored("a", 1), stored("a", 2)]) == [1, 2]
    with pytest.raises(IntegrityError):
        recorder.insert_events([stored("b", 1), stored("a", 2)])
    assert recorder.select_events("b") == []
    assert recorder.insert_events([stored("b", 1)]) == [3]


def test_an_append_that_raises_before_its_end_leaves_nothing_and_no_gap(recorder: LogRecorder):
    def fail() -> None:
        with recorder.appending() as append:
            append.write([EventRow("a", 1, "promise.made", b"{}")], recorded_at=append.head.recorded_at)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert recorder.head().size == 0
    assert recorder.insert_events([stored("a", 1)]) == [1]


def test_a_tile_never_holds_what_a_failed_append_made_of_it(log: Log, recorder: LogRecorder):
    """Another writer's event comes to stand where the failed one would have stood: sizes agree, hashes do not."""
    grown(recorder, [10])

    def fail() -> None:
        with recorder.appending() as append:
            append.write([EventRow("never", 1, "promise.made", b"never")], recorded_at=append.head.recorded_at)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    other = LogRecorder(open_datastore(log.url))
    other.insert_events([stored("other", 1, b"other")])
    other.datastore.close()
    recorder.insert_events([stored(f"after-{number}", 1) for number in range(245)])
    leaves = [leaf_hash(state) for state in log.states()]
    assert log.ask("SELECT hashes FROM ledger.tiles") == [(b"".join(leaves),)]


def test_many_events_at_once_are_numbered_in_order(recorder: LogRecorder):
    chance = random.Random(1)
    size = 0
    for _ in range(30):
        events = [stored(f"s-{size}-{n}", 1, b"%d" % n) for n in range(chance.randint(1, 40))]
        assert recorder.insert_events(events) == list(range(size + 1, size + len(events) + 1))
        size += len(events)
    assert recorder.max_notification_id() == size


@pytest.mark.parametrize("table", ["events", "inbox", "tiles", "checkpoints"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_evidence_is_append_only_for_its_owner_too(log: Log, table: str, statement: str):
    column = {"events": "topic", "inbox": "events", "tiles": "hashes", "checkpoints": "note"}[table]
    with (
        psycopg.connect(log.url) as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match=rf"ledger\.{table} is append-only: "),
    ):
        connection.execute(statement.format(f"ledger.{table}", column, column).encode())


class Tree:
    """The leaves of a log in memory, to compare with."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []

    def roots(self, sizes: Collection[int]) -> dict[int, bytes]:
        """The root of the first so many leaves, by their number."""
        frontier, done, found = Frontier(), 0, {}
        for size in sorted(sizes):
            frontier, done = frontier.extend(self.leaves[done:size]), size
            found[size] = frontier.root()
        return found


def grown(recorder: LogRecorder, sizes: list[int]) -> Tree:
    tree = Tree()
    for count in sizes:
        states = [b"%d" % number for number in range(len(tree.leaves), len(tree.leaves) + count)]
        recorder.insert_events([stored(state.decode(), 1, state) for state in states])
        tree.leaves += map(leaf_hash, states)
    return tree


def reader(connection: psycopg.Connection[Any]) -> TreeReader:
    return TreeReader(connection.cursor(row_factory=tuple_row))


def test_proofs_of_small_trees_are_those_of_the_naive_tree(recorder: LogRecorder, monkeypatch: pytest.MonkeyPatch):
    chance = random.Random(2)
    tree = grown(recorder, [1, 1, 3, 100, 150, 2, 43])
    monkeypatch.setattr("tests.tlog.naive.LEAVES", tree.leaves)
    from tests.tlog.naive import naive_root

    naive_root.cache_clear()
    with recorder.datastore.get_connection() as connection:
        for size in [1, 2, 3, 5, 8, 255, 256, 257, 299, 300]:
            for index in {0, size - 1, chance.randrange(size)}:
                assert reader(connection).inclusion_proof(index, size) == naive_inclusion(index, 0, size)
            for earlier in {1, size, chance.randint(1, size)}:
                assert reader(connection).consistency_proof(earlier, size) == naive_consistency(earlier, 0, size)
            assert reader(connection).root(size) == naive_root(0, size)
    naive_root.cache_clear()


def test_any_proof_of_a_tree_of_three_levels_of_tiles_holds(recorder: LogRecorder):
    chance = random.Random(3)
    tree = grown(recorder, [30_000, 1, 255, 30_000, 5_279, 1, 3_000, 17])
    top = len(tree.leaves)
    assert recorder.head().frontier == Frontier().extend(tree.leaves)
    with recorder.datastore.get_connection() as connection:
        cache: dict[tuple[int, int], list[bytes]] = {}
        tiles = connection.execute(
            "SELECT level, count(*) AS n FROM ledger.tiles GROUP BY level ORDER BY level"
        ).fetchall()
        assert [tuple(row.values()) for row in tiles] == [(0, top // 256), (1, 1)]
        sizes = [top, 65_536, 65_537, 65_535, *(chance.randint(1, top) for _ in range(8))]
        earlier_ones = {size: {size, 1, *(chance.randint(1, size) for _ in range(2))} for size in sizes}
        roots = tree.roots({*sizes}.union(*earlier_ones.values()))
        for size in sizes:
            root = roots[size]
            shared = TreeReader(connection.cursor(row_factory=tuple_row), cache)
            assert shared.root(size) == root
            for index in {0, size - 1, *(chance.randrange(size) for _ in range(4))}:
                verify_inclusion(tree.leaves[index], index, size, shared.inclusion_proof(index, size), root)
            for earlier in earlier_ones[size]:
                proof = shared.consistency_proof(earlier, size)
                verify_consistency(earlier, size, proof, roots[earlier], root)
        with pytest.raises(LookupError):
            reader(connection).root(top + 1)


def test_a_tile_begun_before_a_restart_is_completed_after_it(log: Log, recorder: LogRecorder):
    tree = grown(recorder, [200])
    restarted = LogRecorder(open_datastore(log.url))
    states = [b"after %d" % number for number in range(100)]
    restarted.insert_events([stored(state.decode(), 1, state) for state in states])
    tree.leaves += map(leaf_hash, states)
    assert log.ask("SELECT level, index, hashes FROM ledger.tiles") == [(0, 0, b"".join(tree.leaves[:256]))]
    assert restarted.head().frontier == Frontier().extend(tree.leaves)
    restarted.datastore.close()
