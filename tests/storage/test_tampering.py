"""`verify` against the owner of the database, who has everything but the signing key, the guard file and the KEK."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg
import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from ledger.app import Ledger, Submission
from ledger.erasure.keyring import Keyring
from ledger.erasure.sealing import RANDOM_SIZE, seal
from ledger.processes import ProcessDied
from ledger.storage.guard import ForkGuard
from ledger.storage.recorder import LogRecorder, authenticator, open_datastore
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.note import Signer
from ledger.verification.definitions import expected
from ledger.verification.leaves import RANGE, LeafChecker, Missing
from ledger.verification.log import verify
from ledger.verification.report import Problem, Report, connect
from tests.storage.log import Log, claim, copied, make, submission, tell, told

SIZE = 612
KEYS = {
    "head": ("log",),
    "events": ("notification_id",),
    "inbox": ("source", "command_id", "digest"),
    "sealed": ("leaf_index",),
    "customer_keys": ("customer_id", "key_version"),
    "tiles": ("level", "index"),
    "checkpoints": ("size",),
    "witnessed": ("size",),
    "timestamps": ("size",),
}
COLUMNS = {
    "head": ("log", "origin", "size", "frontier", "recorded_at", "mac"),
    "events": ("notification_id", "originator_id", "originator_version", "topic", "state", "leaf_hash"),
    "inbox": ("source", "command_id", "digest", "leaf_index", "events"),
    "sealed": ("leaf_index", "customer_id", "key_version", "ciphertext"),
    "customer_keys": ("customer_id", "key_version", "wrapped", "created_at", "destroyed_at"),
    "tiles": ("level", "index", "hashes"),
    "checkpoints": ("size", "note", "stored_at"),
    "witnessed": ("size", "note", "stored_at"),
    "timestamps": ("size", "note", "response", "stored_at"),
}
NO_EVIDENCE = {
    "head.log": "the name of the one row, always true; it says nothing about the log",
    "customer_keys.created_at": "when a key was made is for operators; the entry sealed under it has its own time",
    "checkpoints.stored_at": "when a checkpoint was stored is for operators; what it says is signed",
    "witnessed.stored_at": "when it was published is for operators; the cosignatures say when they were made",
    "timestamps.response": "judged by whoever has the authority's certificate, see test_timestamps.py",
    "timestamps.stored_at": "when it was stored is for operators; the stamp itself says its time",
    "timestamps: a row deleted": "a later stamp covers as much; whoever needs the earlier one keeps it",
    "witnessed: a row deleted": "the witnesses and whoever fetched it keep theirs; the next one covers as much",
    "checkpoints: a row deleted": "the stored history may be thinned: guard and receipts carry their own checkpoints",
    "head: two rows swapped": "there is one row",
}
OF_TYPE = {
    "text": "{0} || 'x'",
    "bytea": "set_byte({0}, octet_length({0}) / 2, get_byte({0}, octet_length({0}) / 2) # 1)",
    "bigint": "{0} + 1000000",
    "integer": "{0} + 1",
    "smallint": "{0} + 1",
    "boolean": "NOT {0}",
    "timestamp with time zone": "coalesce({0}, now()) + interval '1 hour'",
}


@dataclass(frozen=True)
class Backup:
    """A log of SIZE events as it was before the attack: the database, keys and guard, and two checkpoints kept."""

    url: str
    log: Log
    early: bytes
    newest: bytes


@pytest.fixture(scope="module")
def backup(postgres_url: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backup]:
    with copied(urlsplit(postgres_url)._replace(path=f"/{_template}").geturl(), "ledger_tampering") as url:
        log = Log(url, tmp_path_factory.mktemp("tampering"))
        with log.open() as ledger:
            notes = []
            for start in range(0, 400, 100):
                told(ledger, *(make(number) for number in range(start, start + 100)))
                log.now += timedelta(seconds=2)
                told(ledger, *(claim(number) for number in range(start, start + 20)))
                told(ledger, *(tell(number) for number in range(start, start + 15)))
                notes.append(log.guard_note())
            told(
                ledger,
                *(submission("promise.verify", f"no-{n}", promise_id="P-none", verified_by="u-2") for n in range(12)),
            )
            log.now += timedelta(seconds=2)
        log._opened.clear()
        with psycopg.connect(log.url) as connection:  # cosigned by nobody, which is for the policy to judge
            connection.execute("INSERT INTO ledger.witnessed SELECT * FROM ledger.checkpoints ORDER BY size LIMIT 3")
            connection.execute(
                "INSERT INTO ledger.timestamps"
                " SELECT size, note, '\\x0102', stored_at FROM ledger.witnessed WHERE size > 0"
            )
        assert log.ask("SELECT count(*) FROM ledger.events") == [(SIZE,)]
        note = log.guard_note()
        assert note is not None
        assert notes[0] is not None
        yield Backup(log.url, log, notes[0], note)


class Attack:
    """The log under attack: a superuser's connection, and the verification afterwards.

    Triggers are off and every constraint is dropped: whoever owns the database is not stopped by what its schema says.
    """

    def __init__(self, backup: Backup) -> None:
        self.backup = backup
        self.url = backup.url
        self.sql: Connection[Any] = psycopg.connect(self.url, autocommit=True)
        self.sql.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        self.run("DROP INDEX ledger.events_stream, ledger.sealed_customer")
        for table in ("checkpoints", "witnessed", "timestamps"):
            self.run(f"DROP INDEX ledger.{table}_of_a_log")
        self.run("CREATE SCHEMA saved")
        for table in COLUMNS:
            self.run(f"CREATE TABLE saved.{table} AS TABLE ledger.{table}")
            for (name,) in self.run(
                "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n'", f"ledger.{table}"
            ):
                drop = SQL("ALTER TABLE {} DROP CONSTRAINT {}")
                self.sql.execute(drop.format(Identifier("ledger", table), Identifier(name)))

    def undo(self) -> None:
        """The log as it was before."""
        with self.sql.transaction():
            for table in COLUMNS:
                self.run(f"TRUNCATE ledger.{table}")  # what is deleted would be read past by every later check
                self.run(f"INSERT INTO ledger.{table} TABLE saved.{table}")

    def run(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self.sql.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def forget_checkpoints(self, size: int) -> None:
        """Delete every stored checkpoint over more than `size` events, the witnessed ones as well."""
        for table in ("checkpoints", "witnessed", "timestamps"):
            self.run(f"DELETE FROM ledger.{table} WHERE size > %s", size)

    def verify(self, **changed: Any) -> Report:
        log = self.backup.log
        arguments: dict[str, Any] = {
            "vkey": log.vkey,
            "guard": lambda: self.backup.newest,
            "key_encryption_key": log.secrets.kek,
            "digest_key": log.secrets.digest,
        }
        return verify(self.url, **arguments | changed)

    def found(self, **changed: Any) -> tuple[str, int | None]:
        """(table, leaf) of what verify names first."""
        problem = self.verify(**changed).problem
        assert problem is not None, "nothing was found"
        return problem.table, problem.leaf_index


@pytest.fixture(scope="module")
def attacked(backup: Backup) -> Iterator[Attack]:
    attack = Attack(backup)
    yield attack
    attack.sql.close()


@pytest.fixture
def attack(attacked: Attack) -> Iterator[Attack]:
    yield attacked
    attacked.undo()


def test_no_table_and_no_column_of_the_schema_is_forgotten_here(backup: Backup):
    found: dict[str, list[str]] = {}
    for table, column in backup.log.ask(
        "SELECT relname, attname FROM pg_catalog.pg_class JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid"
        " WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p', 'm', 'v', 'f') AND attnum > 0"
        " AND NOT attisdropped ORDER BY 1, attnum"
    ):
        found.setdefault(table, []).append(column)
    assert {table: tuple(columns) for table, columns in found.items()} == COLUMNS


def test_the_log_is_clean_before_any_attack(attack: Attack):
    report = attack.verify(kept=[attack.backup.early, attack.backup.newest])
    assert report.problem is None
    assert (report.size, report.signed_size, report.checkpoints >= 4) == (SIZE, SIZE, True)


def _leaf_of(attack: Attack, table: str, row: str) -> int | None:
    """The first leaf that a row (by its ctid) stands for."""
    leaf = {
        "events": "notification_id - 1",
        "inbox": "leaf_index",
        "sealed": "leaf_index",
        "customer_keys": "(SELECT min(leaf_index) FROM ledger.sealed AS s WHERE s.customer_id = t.customer_id)",
        "tiles": "index * 256",
    }.get(table)
    if leaf is None:
        return None
    return attack.run(f"SELECT {leaf} FROM ledger.{table} AS t WHERE ctid = %s::tid", row)[0][0]


def _any_row(attack: Attack, table: str, chance: random.Random) -> str:
    rows = attack.run(f"SELECT ctid::text FROM ledger.{table} ORDER BY ctid")
    return str(chance.choice(rows)[0])


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, columns in COLUMNS.items() for column in columns]
)
def test_a_changed_value_is_found_where_it_is(attack: Attack, table: str, column: str):
    chance = random.Random(f"{table}.{column}")
    row = _any_row(attack, table, chance)
    leaf = _leaf_of(attack, table, row)
    type_of = dict(
        attack.run(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'ledger' AND table_name = %s",
            table,
        )
    )
    change = OF_TYPE[type_of[column]].format(column)
    assert attack.run(f"UPDATE ledger.{table} SET {column} = {change} WHERE ctid = %s::tid RETURNING 1", row) == [(1,)]
    if f"{table}.{column}" in NO_EVIDENCE:
        assert attack.verify().problem is None
        return
    found_in, found_at = attack.found()
    if f"{table}.{column}" == "head.size":
        assert (found_in, found_at) == ("events", SIZE)  # the events that the head speaks of are not there
    elif (table, column) == ("tiles", "hashes"):
        assert (found_in, found_at) == ("tiles", leaf + 128)
    else:
        assert found_in == table
        assert leaf is None or found_at == leaf


@pytest.mark.parametrize("table", COLUMNS)
def test_a_deleted_row_is_found_where_it_was(attack: Attack, table: str):
    row = _any_row(attack, table, random.Random(table))
    leaf = _leaf_of(attack, table, row)
    attack.run(f"DELETE FROM ledger.{table} WHERE ctid = %s::tid", row)
    if f"{table}: a row deleted" in NO_EVIDENCE:
        assert attack.verify().problem is None
    else:
        found_in, found_at = attack.found()
        assert found_in == table
        assert leaf is None or found_at == leaf


@pytest.mark.parametrize(
    ("table", "stray", "leaf"),
    [
        ("head", {"log": False}, None),
        ("events", {"notification_id": SIZE + 1}, SIZE),
        ("events", {"notification_id": 0}, -1),
        ("events", {"notification_id": 1}, None),
        ("events", {"notification_id": -(2**63)}, -1),
        ("inbox", {"command_id": "stray", "leaf_index": 17}, 17),
        ("inbox", {"command_id": "stray", "leaf_index": SIZE - 1}, SIZE - 1),
        ("inbox", {"command_id": "stray", "leaf_index": SIZE}, SIZE),
        ("inbox", {"command_id": "stray", "leaf_index": -1}, -1),
        ("inbox", {"command_id": "stray", "leaf_index": 2**63 - 1}, 2**63 - 1),
        ("sealed", {"leaf_index": SIZE - 1}, SIZE - 1),
        ("sealed", {"leaf_index": SIZE + 7}, SIZE + 7),
        ("sealed", {"leaf_index": -1}, -1),
        ("customer_keys", {"customer_id": "C-stray"}, None),
        ("customer_keys", {"key_version": 2}, None),
        ("customer_keys", {"customer_id": "C-x", "wrapped": None, "destroyed_at": "2026-01-01T00:00:00Z"}, None),
        ("customer_keys", {"customer_id": "C-x", "wrapped": None, "destroyed_at": "infinity"}, None),
        ("tiles", {"index": 2}, None),
        ("tiles", {"level": 1, "index": 0}, None),
        ("tiles", {"level": 8}, None),
        ("tiles", {"level": -1}, None),
        ("checkpoints", {"size": 11}, None),
        ("checkpoints", {}, None),
        ("witnessed", {}, None),
        ("timestamps", {}, None),
    ],
)
def test_a_stray_row_is_found_where_it_is(attack: Attack, table: str, stray: dict[str, Any], leaf: int | None):
    attack.run(f"CREATE TEMP TABLE stray AS SELECT * FROM ledger.{table} LIMIT 1")
    for column, value in stray.items():
        attack.run(f"UPDATE stray SET {column} = %s", value)
    attack.run(f"INSERT INTO ledger.{table} SELECT * FROM stray")
    attack.run("DROP TABLE stray")
    found_in, found_at = attack.found()
    assert found_in == table
    assert leaf is None or found_at == leaf


@pytest.mark.parametrize("table", COLUMNS)
def test_a_value_that_is_missing_is_found_in_its_table(attack: Attack, table: str):
    """The columns say NOT NULL while `verify` reads: whoever owns the catalogs says what suits them."""
    said = "UPDATE pg_attribute SET attnotnull = %s WHERE attrelid = %s::regclass AND attname = ANY (%s)"
    columns = [
        name
        for (name,) in attack.run(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull",
            f"ledger.{table}",
        )
    ]
    for column in columns:
        attack.run(said, False, f"ledger.{table}", columns)
        attack.run(f"UPDATE ledger.{table} SET {column} = NULL WHERE ctid = (SELECT max(ctid) FROM ledger.{table})")
        attack.run(said, True, f"ledger.{table}", columns)
        problem = attack.verify(key_encryption_key=None).problem
        assert problem is not None, column
        assert (problem.table, "a value is missing" in problem.message) == (table, True), column
        attack.undo()


def test_a_key_that_seals_nothing_is_found_twice_and_empty(attack: Attack):
    attack.run("INSERT INTO ledger.customer_keys SELECT 'C-x', 1, wrapped, now() FROM ledger.customer_keys LIMIT 1")
    assert attack.verify(key_encryption_key=None).problem is None  # without that key nobody sees that it opens nothing
    attack.run("INSERT INTO ledger.customer_keys SELECT * FROM ledger.customer_keys WHERE customer_id = 'C-x'")
    assert attack.found(key_encryption_key=None) == ("customer_keys", None)
    attack.undo()
    attack.run("UPDATE ledger.customer_keys SET wrapped = '' WHERE customer_id = 'C-3'")
    assert attack.found(key_encryption_key=None) == ("customer_keys", None)


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


@pytest.mark.parametrize(
    ("change", "back", "table"),
    [
        ("TABLE ledger.timestamps RENAME TO elsewhere", "TABLE ledger.elsewhere RENAME TO timestamps", "timestamps"),
        (
            "TABLE ledger.head RENAME COLUMN recorded_at TO elsewhere",
            "TABLE ledger.head RENAME COLUMN elsewhere TO recorded_at",
            "head",
        ),
        (
            "TABLE ledger.events ALTER state TYPE text USING encode(state, 'hex')",
            "TABLE ledger.events ALTER state TYPE bytea USING decode(state, 'hex'), ALTER state SET STORAGE MAIN",
            "events",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_a_sentence(attack: Attack, change: str, back: str, table: str):
    attack.run(f"ALTER {change}")
    try:
        assert attack.found() == (table, None)
    finally:
        attack.run(f"ALTER {back}")


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "20000-01-01Z"])
def test_a_moment_that_no_program_of_ours_can_hold_is_found_where_it_is(attack: Attack, moment: str):
    attack.run("UPDATE ledger.head SET recorded_at = %s", moment)
    assert attack.found()[0] == "head"


@pytest.mark.parametrize("table", COLUMNS)
def test_two_swapped_rows_are_found_at_the_first(attack: Attack, table: str):
    if f"{table}: two rows swapped" in NO_EVIDENCE:
        assert attack.run(f"SELECT count(*) FROM ledger.{table}") == [(1,)]
        return
    key, rest = KEYS[table], [column for column in COLUMNS[table] if column not in KEYS[table]]
    rows = attack.run(f"SELECT ctid::text FROM ledger.{table} ORDER BY {', '.join(key)}")
    one, other = (row for (row,) in sorted(random.Random(table).sample(rows, 2), key=rows.index))
    leaves = [leaf for row in (one, other) if (leaf := _leaf_of(attack, table, row)) is not None]
    attack.run(
        f"UPDATE ledger.{table} AS t SET ({', '.join(rest)}) = (SELECT {', '.join('o.' + c for c in rest)}"
        f" FROM ledger.{table} AS o WHERE o.ctid = CASE t.ctid WHEN '{one}'::tid THEN '{other}'::tid ELSE '{one}'::tid"
        f" END)"
        f" WHERE t.ctid IN ('{one}'::tid, '{other}'::tid)"
    )
    found_in, found_at = attack.found()
    assert found_in == table
    assert not leaves or found_at == min(leaves)


def test_an_operator_of_the_owner_s_own_decides_nothing(attack: Attack):
    """A search path may be set for a database; with operators of the owner's in it, rows would hide in plain sight."""
    attack.run("INSERT INTO ledger.sealed SELECT %s, customer_id, 1, ciphertext FROM ledger.sealed LIMIT 1", SIZE + 7)
    attack.run("CREATE SCHEMA mine")
    attack.run(
        f"CREATE FUNCTION mine.at_least(bigint, smallint) RETURNS boolean LANGUAGE sql IMMUTABLE AS"
        f" 'SELECT $2 OPERATOR(pg_catalog.<>) {SIZE} AND $1 OPERATOR(pg_catalog.>=) $2'"
    )
    attack.run("CREATE OPERATOR mine.>= (LEFTARG = bigint, RIGHTARG = smallint, FUNCTION = mine.at_least)")
    attack.run("ALTER DATABASE ledger_tampering SET search_path = mine, pg_catalog")
    try:
        assert attack.found() == ("sealed", SIZE + 7)
    finally:
        attack.run("ALTER DATABASE ledger_tampering RESET search_path")
        attack.run("DROP SCHEMA mine CASCADE")


def test_a_sealed_text_moved_to_another_event_of_the_same_customer_is_found(attack: Attack):
    attack.run(
        "UPDATE ledger.sealed SET ciphertext = (SELECT ciphertext FROM ledger.sealed WHERE leaf_index = 7)"
        " WHERE leaf_index = 0"
    )
    assert attack.found() == ("sealed", 0)


def test_two_sealed_texts_for_one_event_are_found(attack: Attack):
    attack.run("INSERT INTO ledger.sealed SELECT * FROM ledger.sealed WHERE leaf_index = 7")
    assert attack.found() == ("sealed", 7)


def test_two_keys_of_one_customer_and_number_are_found(attack: Attack):
    attack.run("INSERT INTO ledger.customer_keys SELECT * FROM ledger.customer_keys WHERE customer_id = 'C-3'")
    assert attack.found() == ("customer_keys", 3)
    assert attack.found(key_encryption_key=None) == ("customer_keys", 3)


@pytest.mark.parametrize(
    "entry", [b'{"data":' + b"[" * 30_000 + b"]" * 30_000 + b"}", b"[]", b'{"v":1', b'{"v":"1"}', b'{"stream":"\xff"}']
)
def test_bytes_that_are_no_entry_are_found_whatever_they_are(attack: Attack, entry: bytes):
    made = leaf_hash(entry)
    attack.run("UPDATE ledger.events SET state = %s, leaf_hash = %s WHERE notification_id = 8", entry, made)
    assert attack.found() == ("events", 7)


def test_other_words_sealed_anew_by_whoever_has_the_keys_are_not_those_committed_to(attack: Attack):
    (row,) = attack.run("SELECT wrapped FROM ledger.customer_keys WHERE customer_id = 'C-3'")
    (entry,) = attack.run("SELECT state FROM ledger.events WHERE notification_id = 4")
    names: dict[str, Any] = {"event_id": orjson.loads(entry[0])["event_id"], "customer_id": "C-3", "key_version": 1}
    cipher = Keyring(attack.backup.log.secrets.kek).unwrap("C-3", 1, row[0])
    _, forged = seal(cipher, random=bytes(RANDOM_SIZE), personal=b'{"text":"we never said that"}', **names)
    attack.run("UPDATE ledger.sealed SET ciphertext = %s WHERE leaf_index = 3", forged)
    assert attack.found() == ("sealed", 3)


def test_erasing_without_an_event_that_orders_it_is_found(attack: Attack):
    attack.run("DELETE FROM ledger.sealed WHERE customer_id = 'C-3'")
    assert attack.found() == ("sealed", 3)
    attack.run("UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = now() WHERE customer_id = 'C-3'")
    assert attack.found() == ("customer_keys", 3)


def test_the_first_of_several_wrong_places_is_named(attack: Attack):
    attack.run("DELETE FROM ledger.inbox WHERE leaf_index = 400")
    attack.run("DELETE FROM ledger.sealed WHERE leaf_index = 300")
    assert attack.found() == ("sealed", 300)
    _forge(attack, 200)
    assert attack.found() == ("events", 200)


STREAM_OF = "SELECT originator_id FROM ledger.events WHERE notification_id = %s"


def _forge(attack: Attack, leaf: int) -> None:
    """Another due time in an entry; nothing else is changed with it."""
    (row,) = attack.run("SELECT state FROM ledger.events WHERE notification_id = %s", leaf + 1)
    entry = orjson.loads(row[0])
    entry["data"]["due_at"] = "2029-01-01T00:00:00Z"
    state = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    attack.run("UPDATE ledger.events SET state = %s WHERE notification_id = %s", state, leaf + 1)


def _rebuild(attack: Attack) -> Frontier:
    """Make leaf hashes, tiles and head what the events now say; returns the frontier."""
    attack.run("UPDATE ledger.events SET leaf_hash = sha256('\\x00'::bytea || state)")
    states = [row[0] for row in attack.run("SELECT state FROM ledger.events ORDER BY notification_id")]
    leaves = [leaf_hash(state) for state in states]
    attack.run("DELETE FROM ledger.tiles")
    for number in range(len(leaves) // 256):
        hashes = b"".join(leaves[number * 256 : number * 256 + 256])
        attack.run("INSERT INTO ledger.tiles VALUES (0, %s, %s)", number, hashes)
    frontier = Frontier().extend(leaves)
    recorded_at = orjson.loads(states[-1])["recorded_at"]
    attack.run(
        "UPDATE ledger.head SET size = %s, frontier = %s, recorded_at = %s",
        len(leaves),
        frontier.to_bytes(),
        recorded_at,
    )
    return frontier


@pytest.mark.parametrize("leaf", [3, 160, 255, 460, SIZE - 1])
def test_a_changed_entry_is_named_exactly_also_at_the_right_edge(attack: Attack, leaf: int):
    _forge(attack, leaf)
    problem = attack.verify().problem
    assert problem is not None
    assert (problem.table, problem.leaf_index) == ("events", leaf)
    assert problem.stream == attack.run(STREAM_OF, leaf + 1)[0][0]


def test_a_changed_entry_with_its_leaf_hash_is_named_by_its_tile(attack: Attack):
    _forge(attack, 160)
    attack.run("UPDATE ledger.events SET leaf_hash = sha256('\\x00'::bytea || state)")
    assert attack.found() == ("events", 160)


def test_a_changed_entry_with_its_tiles_rebuilt_is_placed_after_the_last_proven_leaf(attack: Attack):
    _forge(attack, 460)
    _rebuild(attack)
    (proven,) = attack.run("SELECT max(size) FROM ledger.checkpoints WHERE size <= 460")[0]
    assert attack.found() == ("events", proven)
    problem = attack.verify().problem
    assert problem is not None
    assert "checkpoint" in problem.message


def test_a_rewritten_suffix_of_equal_length_contradicts_the_guard(attack: Attack):
    _forge(attack, 460)
    _rebuild(attack)
    attack.forget_checkpoints(0)
    attack.run("INSERT INTO ledger.checkpoints VALUES (150, %s, now())", attack.backup.early.decode())
    problem = attack.verify().problem
    assert problem is not None
    assert (problem.table, problem.leaf_index) == ("events", 150)
    assert "the fork guard was signed" in problem.message


def test_the_rewrite_with_the_signing_key_stolen_is_exposed_by_an_old_receipt(attack: Attack):
    _forge(attack, 3)
    frontier = _rebuild(attack)
    log = attack.backup.log
    forged = Checkpoint(log.settings.origin, SIZE, frontier.root()).sign(Signer(log.settings.origin, log.secrets.log))
    attack.forget_checkpoints(-1)
    assert attack.found(guard=lambda: forged) == ("head", SIZE), "the key of the digests was not stolen with it"
    assert attack.verify(guard=lambda: forged, digest_key=None).problem is None
    assert attack.found(guard=lambda: forged, digest_key=None, kept=[attack.backup.early]) == ("events", 0)


def _cut(attack: Attack, size: int) -> None:
    attack.run("DELETE FROM ledger.events WHERE notification_id > %s", size)
    attack.run("DELETE FROM ledger.inbox WHERE leaf_index >= %s", size)
    attack.run("DELETE FROM ledger.sealed WHERE leaf_index >= %s", size)
    attack.forget_checkpoints(size)
    if size:
        _rebuild(attack)
    else:
        attack.run("DELETE FROM ledger.tiles")
        attack.run("DELETE FROM ledger.customer_keys")
        attack.run("UPDATE ledger.head SET size = 0, frontier = ''")


def test_a_cut_tail_contradicts_the_guard(attack: Attack):
    _cut(attack, 600)
    assert attack.found() == ("events", 600)


def test_a_cut_tail_with_checkpoints_left_is_found_without_the_guard_as_well(attack: Attack):
    newest = attack.run("SELECT size, note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1")
    _cut(attack, 150)
    attack.run("INSERT INTO ledger.checkpoints VALUES (%s, %s, now())", *newest[0])
    assert attack.found(guard=lambda: attack.backup.early) == ("events", 150)


def test_a_deleted_log_contradicts_the_guard(attack: Attack):
    _cut(attack, 0)
    assert attack.found() == ("events", 0)
    attack.run("DELETE FROM ledger.head")
    assert attack.found() == ("head", None)


def test_an_old_guard_beside_newer_checkpoints_is_found(attack: Attack):
    assert attack.found(guard=lambda: attack.backup.early) == ("guard", 150)


def test_a_guard_that_is_behind_because_the_service_signed_meanwhile_is_no_problem(attack: Attack):
    notes = iter([attack.backup.early, attack.backup.newest])
    assert attack.verify(guard=lambda: next(notes)).problem is None


@pytest.mark.parametrize("note", [None, b"", b"nonsense\n\n"])
def test_a_guard_without_a_checkpoint_is_found(attack: Attack, note: bytes | None):
    assert attack.found(guard=lambda: note) == ("guard", None)


def test_a_checkpoint_of_another_key_is_found(attack: Attack):
    other = Signer(attack.backup.log.settings.origin, b"other" + bytes(27))
    note = Checkpoint(other.name, 40, bytes(32)).sign(other).decode()
    attack.run("INSERT INTO ledger.checkpoints VALUES (40, %s, now())", note)
    assert attack.found() == ("checkpoints", None)


def test_going_back_to_an_earlier_copy_is_found_also_with_its_guard_by_whoever_kept_a_checkpoint(attack: Attack):
    _cut(attack, 150)
    assert attack.found() == ("events", 150)
    early = attack.verify(guard=lambda: attack.backup.early, digest_key=None)  # a copy would have the MAC of its head
    assert early.problem is None
    assert attack.found(guard=lambda: attack.backup.early, kept=[attack.backup.newest]) == ("events", 150)


def test_events_that_nobody_signed_are_reported_as_not_covered(attack: Attack):
    attack.forget_checkpoints(150)
    report = attack.verify(guard=lambda: attack.backup.early)
    assert report.problem is None
    assert (report.size, report.signed_size) == (SIZE, 150)


def test_without_the_key_encryption_key_all_but_the_texts_is_checked(attack: Attack):
    attack.run("UPDATE ledger.sealed SET ciphertext = ciphertext || 'x'::bytea WHERE leaf_index = 5")
    assert attack.verify(key_encryption_key=None).problem is None
    assert attack.found() == ("sealed", 5)
    attack.run("UPDATE ledger.sealed SET customer_id = 'C-0' WHERE leaf_index = 5")
    assert attack.found(key_encryption_key=None) == ("sealed", 5)


def test_a_wrong_key_encryption_key_is_told_from_a_broken_text(attack: Attack):
    problem = attack.verify(key_encryption_key=bytes(32)).problem
    assert problem is not None
    assert problem.table == "customer_keys"
    assert "the key-encryption key is not the key of this log" in problem.message


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
    monkeypatch.setattr("sys.executable", "/bin/true")
    with pytest.raises(ProcessDied):
        log.verify()


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
