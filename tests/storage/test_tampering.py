"""`verify` against the owner of the database who changes what is in a table, and leaves the rest as it is."""

import random
from typing import Any

import orjson
import pytest

from ledger.erasure.keyring import Keyring
from ledger.erasure.sealing import RANDOM_SIZE, seal
from ledger.tlog.merkle import leaf_hash
from tests.storage.attack import COLUMNS, SIZE, Attack, Backup

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


@pytest.mark.parametrize("change", ["{0} || '\\x00'::bytea", "substr({0}, 1, octet_length({0}) - 1)"])
def test_bytes_of_another_length_are_found_where_they_are(attack: Attack, change: str):
    columns = attack.run(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'ledger' AND data_type = 'bytea' ORDER BY 1, 2"
    )
    assert {(table, column) for table, column in columns} >= {("tiles", "hashes"), ("sealed", "ciphertext")}
    for table, column in columns:
        if f"{table}.{column}" in NO_EVIDENCE:
            continue
        row = _any_row(attack, table, random.Random(f"{table}.{column}"))
        leaf = _leaf_of(attack, table, row)
        value = change.format(column)
        attack.run(f"UPDATE ledger.{table} SET {column} = {value} WHERE ctid = %s::tid", row)
        found_in, found_at = attack.found()
        assert found_in == table, column
        last = 255 if table == "tiles" else 0  # of the leaves under it
        assert leaf is None or found_at == leaf + last, column
        attack.undo()


def test_a_text_that_is_none_is_found_where_it_is(attack: Attack):
    columns = attack.run(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'ledger' AND data_type = 'text' ORDER BY 1, 2"
    )
    assert {table for table, _ in columns} == {*COLUMNS} - {"tiles"}
    for table, column in columns:
        row = _any_row(attack, table, random.Random(f"{table}.{column}"))
        leaf = _leaf_of(attack, table, row)
        with attack.sql.transaction():
            attack.run("CREATE CAST (bytea AS text) WITHOUT FUNCTION")
            attack.run(f"UPDATE ledger.{table} SET {column} = '\\xff41'::bytea::text WHERE ctid = %s::tid", row)
            attack.run("DROP CAST (bytea AS text)")
        found_in, found_at = attack.found()
        assert found_in == table, column
        assert leaf is None or found_at == leaf, column
        attack.undo()


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
    last = f"(SELECT max(ctid) FROM ledger.{table})"
    place = {"events": "notification_id", "inbox": "leaf_index", "sealed": "leaf_index"}.get(table)
    for column in columns:
        leaf = None
        if place not in (None, column):
            [(leaf,)] = attack.run(f"SELECT {place} - {int(table == 'events')} FROM ledger.{table} WHERE ctid = {last}")
        attack.run(said, False, f"ledger.{table}", columns)
        attack.run(f"UPDATE ledger.{table} SET {column} = NULL WHERE ctid = {last}")
        attack.run(said, True, f"ledger.{table}", columns)
        problem = attack.verify(key_encryption_key=None).problem
        assert problem is not None, column
        assert (problem.table, "a value is missing" in problem.message) == (table, True), column
        assert leaf is None or problem.leaf_index == leaf, column
        attack.undo()


def test_a_key_that_seals_nothing_is_found_twice_and_empty(attack: Attack):
    attack.run("INSERT INTO ledger.customer_keys SELECT 'C-x', 1, wrapped, now() FROM ledger.customer_keys LIMIT 1")
    assert attack.verify(key_encryption_key=None).problem is None  # without that key nobody sees that it opens nothing
    attack.run("INSERT INTO ledger.customer_keys SELECT * FROM ledger.customer_keys WHERE customer_id = 'C-x'")
    assert attack.found(key_encryption_key=None) == ("customer_keys", None)
    attack.undo()
    attack.run("UPDATE ledger.customer_keys SET wrapped = '' WHERE customer_id = 'C-3'")
    assert attack.found(key_encryption_key=None) == ("customer_keys", None)


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


def test_a_sealed_text_for_an_event_that_has_none_is_found(attack: Attack):
    ((leaf,),) = attack.run(
        "SELECT min(notification_id) - 1 FROM ledger.events AS e"
        " WHERE NOT EXISTS (SELECT FROM ledger.sealed WHERE leaf_index = e.notification_id - 1)"
    )
    attack.run("INSERT INTO ledger.sealed SELECT %s, customer_id, 1, ciphertext FROM ledger.sealed LIMIT 1", leaf)
    assert attack.found() == ("sealed", leaf)


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
