"""What the command line asks: texts as words, as a mark once erased, and None where there were none."""

import threading

import pytest
from psycopg.errors import UndefinedTable

from ledger.erasure.keyring import DataKey
from ledger.erasure.sealing import RANDOM_SIZE, SealBroken, seal
from projections import queries, versions
from projections.applying import Applier, Stopped
from projections.log import Log
from projections.reports import ALL
from projections.runner import rebuild
from projections.texts import TEXTS, purge
from tests.projections.world import World, at, wait_for


@pytest.fixture
def told(world: World) -> World:
    world.make(1, due_at=30)
    world.make(2, due_at=20, condition={"text": "if you are in", "by": at(10)}, case_id="case-1")
    world.make(3, customer_id="C-2")
    world.now = at(5)
    about = {"customer_id": "C-1", "about": {"promise_id": "P-1"}}
    assert world.tell("followup.schedule", 4, followup_id="F-1", due_at=at(9), owner="u-2", **about) == "recorded"
    assert world.tell("promise.warn", 4, promise_id="P-1", reason="It snows.") == "recorded"
    again = {"promise_id": "P-2", "confirmed": True, "case_id": "case-2"}
    assert world.tell("promise.read_back", 4, **again) == "recorded"
    assert world.tell("promise.verify", 4, promise_id="P-1", verified_by="C-1") == "not-allowed"
    world.catch_up()
    return world


def erase(world: World, customer_id: str) -> None:
    world.connection.execute(
        "UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = '2026-04-01T00:00:00Z' WHERE customer_id = %s",
        (customer_id,),
    )


def test_outstanding_soonest_first_with_the_words(told: World) -> None:
    keys = queries.keyring(told.secrets.kek)
    rows = queries.outstanding(told.connection, keys)
    assert [(row["promise_id"], row["text"]) for row in rows] == [
        ("P-2", "The router 2 comes."),
        ("P-3", "The router 3 comes."),
        ("P-1", "The router 1 comes."),
    ]
    assert rows[0]["condition_text"] == "if you are in"
    assert (rows[0]["case_id"], rows[0]["standing"], rows[0]["leaf_index"]) == ("case-1", "conditional", 5)
    assert (rows[2]["made_leaf_index"], rows[2]["leaf_index"], rows[2]["warned_at"]) == (0, 4, at(4))
    assert [row["promise_id"] for row in queries.outstanding(told.connection, keys, customer="C-1")] == ["P-2", "P-1"]
    (row,) = queries.outstanding(told.connection, keys, customer="C-1", as_of=at(26), known_at=at(0))[1:]
    assert (row["promise_id"], row["timeliness"], row["warned_at"]) == ("P-1", "running", None)
    assert queries.outstanding(told.connection, keys, as_of=at(-1)) == []


def test_a_customer_from_all_sides(told: World) -> None:
    keys = queries.keyring(told.secrets.kek)
    found = queries.customer(told.connection, keys, "C-1")
    assert [row["promise_id"] for row in found["outstanding"]] == ["P-2", "P-1"]
    assert [(row["followup_id"], row["due_at"], row["attempts"]) for row in found["followups"]] == [("F-1", at(9), 0)]
    assert [(row["leaf_index"], row["type"], row["text"]) for row in found["timeline"]] == [
        (0, "promise.made", "The router 1 comes."),
        (1, "promise.made", "The router 2 comes. · if you are in"),
        (3, "followup.scheduled", None),
        (4, "promise.at_risk", "It snows."),
        (5, "promise.read_back", None),
    ]
    assert found["timeline"][0]["data"]["owner"] == "u-1"
    assert found["erased"] is None
    earlier = queries.customer(told.connection, keys, "C-1", known_at=at(1))
    assert [row["leaf_index"] for row in earlier["timeline"]] == [0, 1]
    assert earlier["followups"] == []
    nobody = queries.customer(told.connection, keys, "C-9")
    assert nobody == {"customer_id": "C-9", "erased": None, "outstanding": [], "followups": [], "timeline": []}


def test_a_trail_is_read_from_the_log_itself(told: World) -> None:
    told.connection.execute("DELETE FROM read_texts_v1.texts; DELETE FROM read_timeline_v1.timeline")
    rows = queries.trail(told.connection, queries.keyring(told.secrets.kek), "promise:P-1")
    assert [(row["leaf_index"], row["version"], row["type"], row["text"]) for row in rows] == [
        (0, 1, "promise.made", "The router 1 comes."),
        (4, 2, "promise.at_risk", "It snows."),
    ]
    assert rows[0]["data"]["due_at"] == at(30)
    assert rows[1]["recorded_at"] == at(5)
    (refused,) = queries.trail(told.connection, queries.keyring(told.secrets.kek), "source:crm")
    assert (refused["data"]["code"], refused["customer_id"], refused["text"]) == ("not-allowed", None, None)
    assert queries.trail(told.connection, queries.keyring(told.secrets.kek), "promise:P-9") == []


def test_an_erased_customer_has_marks_and_no_words(told: World) -> None:
    erase(told, "C-1")
    assert purge(told.connection_of_tuples(), "C-1") == 4
    keys = queries.keyring(told.secrets.kek)
    mark = "[erased on 2026-04-01]"
    found = queries.customer(told.connection, keys, "C-1")
    assert found["erased"] == mark
    assert [row["text"] for row in found["outstanding"]] == [mark, mark]
    assert [row["text"] for row in found["timeline"]] == [mark, mark, None, mark, None]
    assert [row["text"] for row in queries.trail(told.connection, keys, "promise:P-1")] == [mark, mark]
    assert [row["text"] for row in queries.outstanding(told.connection, keys, customer="C-2")] == [
        "The router 3 comes."
    ]


def test_no_text_comes_back_once_its_key_is_destroyed(told: World) -> None:
    erase(told, "C-1")
    rebuild(told.url, told.secrets, "texts")
    assert told.ask("SELECT customer_id, text FROM audit.texts") == [
        {"customer_id": "C-2", "text": "The router 3 comes."}
    ]


def test_the_purge_waits_for_a_batch_in_flight(told: World) -> None:
    """Staged: a batch has opened a text and not committed; the purge must find it."""
    told.make(4)
    size = told.ask("SELECT size FROM ledger.head")[0]["size"]
    with versions.connect(told.url, "one") as one:
        applier = Applier(one, Log(told.connection_of_tuples()), told.secrets)
        purged: list[int] = []
        other = told.connection_of_tuples()
        with one.transaction():
            assert applier.advance(TEXTS, size) == 1
            erase(told, "C-1")
            purging = threading.Thread(target=lambda: purged.append(purge(other, "C-1")))
            purging.start()
            wait_for(lambda: told.ask("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != [])
        purging.join()
        assert purged == [5]
        told.make(5)  # recorded by a ledger that had not yet heard
        assert applier.advance(TEXTS, size + 1) == 1
    assert {row["customer_id"] for row in told.ask("SELECT * FROM audit.texts")} == {"C-2"}


def test_texts_that_are_not_those_committed_to_stop_the_projection(world: World) -> None:
    world.make(1)
    world.make(2)
    world.tamper(
        "UPDATE ledger.sealed SET ciphertext = (SELECT ciphertext FROM ledger.sealed WHERE leaf_index = 0) "
        "WHERE leaf_index = 1"
    )
    with pytest.raises(Stopped, match="does not open under its key") as caught:
        world.catch_up()
    assert (caught.value.name, caught.value.leaf_index) == ("texts", 1)
    assert isinstance(caught.value.__cause__, SealBroken)


def test_another_text_under_the_right_key_is_not_shown(world: World) -> None:
    """Whoever holds the key-encryption key can seal other words; the entry has not committed to them."""
    world.make(1)
    (entry,) = queries.trail(world.connection, queries.keyring(world.secrets.kek), "promise:P-1")
    key = queries.keyring(world.secrets.kek).find(world.connection_of_tuples().cursor(), ["C-1"])["C-1"]
    assert isinstance(key, DataKey)
    _, ciphertext = seal(
        key.cipher,
        random=bytes(RANDOM_SIZE),
        event_id=entry["event_id"],
        customer_id="C-1",
        key_version=key.version,
        personal=b'{"text":"We promised nothing."}',
    )
    world.tamper("UPDATE ledger.sealed SET ciphertext = %s", ciphertext)
    with pytest.raises(Stopped, match="is not the one that its entry commits to"):
        world.catch_up()


def test_a_text_under_a_key_that_never_was_stops_the_projection(world: World) -> None:
    world.make(1)
    world.tamper("DELETE FROM ledger.customer_keys")
    with pytest.raises(Stopped, match="a key that is not in the key table"):
        world.catch_up()


def test_no_read_table_but_texts_holds_a_word_of_a_customer(told: World) -> None:
    tables = [(f"read_{each.name}_v1", table) for each in ALL for table in each.keys if each is not TEXTS]
    assert len(tables) > 15
    for schema, table in tables:
        stored = str(told.ask(f"SELECT * FROM {schema}.{table}"))
        assert "router" not in stored
        assert "snows" not in stored
    with pytest.raises(UndefinedTable):
        told.ask("SELECT * FROM read_texts_v2.texts")
