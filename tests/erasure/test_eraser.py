"""The eraser: what it destroys and what stays, a crash between any two of its steps, restored copies."""

from collections.abc import Callable
from pathlib import Path

import orjson
import psycopg
import pytest
from psycopg import Connection

from consumers.erasing import Letters, connect
from ledger.app import Fork, Ledger
from ledger.erasure.eraser import Eraser, NotErased
from ledger.erasure.orders import orders
from ledger.receipts import Receipt
from ledger.tlog.note import Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.spelling import hash_of
from projections import queries, runner, texts
from projections.disclosures import DISCLOSURES
from tests.erasure.conftest import READ, Erasing, tell
from tests.projections.world import at
from tests.storage.log import copied, copy_directory

MARK = "[erased on 2026-03-01]"
OTHERS = {"keys": 1, "sealed": 1, "texts": 1}


def prove(world: Erasing, receipt: Receipt) -> None:
    """Every proof of an old receipt holds, and the log still has the entries that it is about."""
    for event in receipt.events:
        leaf = hash_of(event.leaf_hash)
        assert leaf is not None
        ProofFile.parse(event.proof).verify(leaf, Verifier.parse(world.vkey))
        (row,) = world.ask("SELECT leaf_hash FROM ledger.events WHERE notification_id = %s", event.leaf_index + 1)
        assert row["leaf_hash"] == leaf


def test_words_go_and_what_happened_stays_provable(told: Erasing, no_letters: None) -> None:
    (receipt,) = told.ledger.submit(
        [told.submission("promise.warn", at(2), promise_id="P-2", reason="It snows here too.")]
    )
    assert isinstance(receipt, Receipt)
    before = [row["state"] for row in told.ask("SELECT state FROM ledger.events ORDER BY notification_id")]
    assert told.erase() == "recorded"
    assert told.eraser().round() == 1
    told.catch_up()
    assert (told.left(), told.left("C-2")) == ({}, OTHERS)
    assert told.completions() == [{"keys": 1, "texts": 5, "letters": 0, "through_leaf": 6}]
    states = [row["state"] for row in told.ask("SELECT state FROM ledger.events ORDER BY notification_id")]
    assert states[: len(before)] == before
    assert told.verify().problem is None
    prove(told, receipt)


def test_erased_is_told_from_unknown_and_from_those_who_are_not(told: Erasing) -> None:
    keys = queries.keyring(told.secrets.kek)
    assert told.erase("C-9") == "unknown-customer"
    assert told.erase() == "recorded"
    for _ in ("requested", "completed"):  # reads refuse from the request on, whatever the read side knows yet
        found = queries.customer(told.connection, keys, "C-1")
        assert found["erased"] == MARK
        assert {row["text"] for row in found["outstanding"]} == {MARK}
        assert {row["condition_text"] for row in found["outstanding"]} == {None}
        assert {row["text"] for row in found["timeline"] if row["has_words"]} == {MARK}
        assert [row["text"] for row in queries.trail(told.connection, keys, "promise:P-1")] == [MARK, MARK]
        assert queries.customer(told.connection, keys, "C-9")["erased"] is None
        others = queries.outstanding(told.connection, keys, customer="C-2")
        assert [row["text"] for row in others] == ["The router 4 comes."]
        told.eraser().round()
        told.catch_up()


def test_an_erasure_needs_no_key_that_opens(told: Erasing) -> None:
    told.erase()
    with psycopg.connect(told.url) as connection:
        connection.execute(
            "UPDATE ledger.customer_keys SET wrapped = set_byte(wrapped, 20, 0) WHERE customer_id = 'C-2'"
        )
    assert told.eraser().round() == 1
    assert told.left() == {}


def test_late_events_are_fenced_and_their_words_are_nowhere(told: Erasing) -> None:
    late = {"promise_id": "P-1", "reason": "It snows on."}
    with Ledger.open(told.settings, clock=lambda: told.now) as other:
        other.submit([told.submission("promise.warn", at(2), **late)])  # it has the key at hand
        batch = [
            told.submission("subject.erase", at(3), customer_id="C-1", grounds="art-17-1-a"),
            told.submission("promise.warn", at(3), **late),
            told.submission("promise.claim_kept", at(3), promise_id="P-1"),
        ]
        codes = [getattr(outcome, "code", "recorded") for outcome in told.ledger.submit(batch)]
        assert codes == ["recorded", "customer-erased", "recorded"]
        for ledger in (told.ledger, other):
            (refusal,) = ledger.submit([told.submission("promise.warn", at(4), **late)])
            assert orjson.loads(refusal.to_json())["code"] == "customer-erased"
            assert "snows" not in refusal.to_json().decode()
    told.eraser().round()
    assert told.tell("promise.warn", 5, **late) == "customer-erased"
    assert told.tell("promise.verify", 5, promise_id="P-1", verified_by="C-1") == "recorded"
    assert told.erase() == "erasure-on-record"
    assert told.ask("SELECT key_version, wrapped FROM ledger.customer_keys WHERE customer_id = 'C-1'") == [
        {"key_version": 1, "wrapped": None}
    ]
    told.catch_up()
    assert told.verify().problem is None


def test_what_becomes_of_what_is_on_record_is_recorded_without_words(told: Erasing) -> None:
    """Others rest on it: a falsehood that was told to the erased contaminates what somebody else was told."""
    disclosed = {"owner": "u-1", "apology": False, "channel": "phone", "basis": "known", "solution_ref": "S-1"}
    for customer_id, disclosure_id, promise_id, based_on in (("C-1", "D-1", "P-1", []), ("C-2", "D-2", "P-4", ["D-1"])):
        names = {"disclosure_id": disclosure_id, "customer_id": customer_id, "about": {"promise_id": promise_id}}
        text = {"text": "The road is closed.", "based_on": based_on}
        assert told.tell("disclosure.make", 1, **names, **disclosed, **text) == "recorded"
    detected = {"problem_id": "X-1", "known_since": at(1), "detected_by": "us", "severity": 2, "owner": "u-1"}
    assert told.tell("problem.detect", 1, **detected, summary="It is closed.", affected=["C-1"]) == "recorded"
    assert told.erase() == "recorded"
    told.eraser().round()
    false = {"disclosure_id": "D-1", "known_since": at(3), "why": "The road to Fern Street was open."}
    assert told.tell("disclosure.falsify", 3, **false) == "recorded"
    broken = {"promise_id": "P-1", "reason_code": "transport", "text": "It lies at Fern Street."}
    assert told.tell("promise.break", 4, **broken) == "recorded"
    sorry = {"apology_id": "A-1", "customer_id": "C-1", "for": {"promise_id": "P-1"}}
    assert told.tell("apology.make", 4, **sorry, next_step="We ask at Fern Street.") == "recorded"
    resolved = {"problem_id": "X-1", "root_cause_addressed": True, "text": "Fern Street is open."}
    assert told.tell("problem.resolve", 5, **resolved) == "recorded"
    states = [row["state"] for row in told.ask("SELECT state FROM ledger.events ORDER BY notification_id")]
    last = [orjson.loads(state) for state in states[-4:]]
    types = ["disclosure.falsified", "promise.broken", "apology.made", "problem.resolution_claimed"]
    assert [each["type"] for each in last] == types
    assert [each.get("customer_id") for each in last] == ["C-1", "C-1", "C-1", None], "named for the words alone"
    assert not any("personal" in each for each in last)
    assert not any(b"Fern" in state for state in states)
    told.catch_up((*READ, DISCLOSURES))
    assert told.left() == {}
    (row,) = told.ask("SELECT contaminated FROM audit.disclosures WHERE disclosure_id = 'D-2'")
    assert row["contaminated"]
    assert told.verify().problem is None


def test_a_hold_defers_and_its_lifting_begins_the_erasure(told: Erasing) -> None:
    hold = {"hold_id": "H-1", "customer_id": "C-1", "grounds": "case 4 C 12/26", "approver": "u-9"}
    assert told.tell("hold.place", 1, **hold) == "recorded"
    assert told.erase() == "recorded"
    eraser = told.eraser()
    assert eraser.round() == 0
    assert told.tell("promise.warn", 2, promise_id="P-2", reason="Held, and still recorded.") == "recorded"
    told.catch_up()
    assert told.left()["texts"] == 6
    assert told.verify().problem is None
    assert told.tell("hold.lift", 3, **hold) == "recorded"
    assert eraser.round() == 1
    assert told.left() == {}
    assert told.verify().problem is None


STEPS: dict[str, Callable[[Eraser, Erasing], object]] = {
    "signed": lambda eraser, world: eraser.sign([world.order()]),
    "destroyed": lambda eraser, world: eraser.destroy(world.order()),
    "letters removed": lambda eraser, world: eraser.forget_letters(eraser.traces([world.order()])),
    "space given back": lambda eraser, world: eraser.scrub(),
    "completed": lambda eraser, world: eraser.complete(world.order(), 4, 0),
}


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_a_crash_between_any_two_steps_is_made_good_by_the_next_start(told: Erasing, done: int) -> None:
    assert told.erase() == "recorded"
    crashed = told.eraser()
    for step in list(STEPS.values())[:done]:
        step(crashed, told)
    assert told.found() is None, "an erasure on its way is no problem"
    completed = done == len(STEPS)
    assert told.eraser().round() == (0 if completed else 1)
    assert told.left() == {}
    assert told.completions() == [{"keys": 1, "texts": 4, "letters": 0, "through_leaf": 5}]
    assert told.eraser().round() == 0
    told.catch_up()
    assert told.found() is None


def test_nothing_is_destroyed_where_not_all_of_it_is(told: Erasing) -> None:
    assert told.erase() == "recorded"
    before = told.left()
    eraser = told.eraser()

    class Failing:
        def purge(self, connection: Connection, customer_id: str) -> int:
            raise psycopg.OperationalError("the power is gone")

    eraser._read_tables = Failing()  # type: ignore[assignment]
    with pytest.raises(psycopg.OperationalError):
        eraser.destroy(told.order())
    assert told.left() == before
    assert told.found() is None


def test_the_read_side_forgets_at_the_request_without_waiting_for_the_eraser(told: Erasing) -> None:
    told.make(5)  # in the same batch of the read side as the request
    assert told.erase() == "recorded"
    told.catch_up()
    assert told.left() == {"keys": 1, "sealed": 5}
    assert told.left("C-2") == OTHERS


def test_a_projection_that_lags_or_is_rebuilt_never_brings_words_back(told: Erasing) -> None:
    told.make(5)  # not applied yet
    assert told.erase() == "recorded"
    told.eraser().destroy(told.order())
    told.catch_up()
    assert told.left() == {}
    told.eraser().round()
    runner.rebuild(told.url, told.secrets, "texts")
    assert (told.left(), told.left("C-2")) == ({}, OTHERS)


RESTORED = {
    "keys and sealed texts": ("customer_keys", "sealed"),
    "a key alone": ("customer_keys",),
    "sealed texts alone": ("sealed",),
    "projected texts": ("texts",),
}
RESTORE = {
    "customer_keys": """UPDATE ledger.customer_keys AS k SET wrapped = old.wrapped, destroyed_at = NULL
                        FROM pg_temp.customer_keys AS old
                        WHERE old.customer_id = k.customer_id AND k.wrapped IS NULL""",
    "sealed": "INSERT INTO ledger.sealed SELECT * FROM pg_temp.sealed WHERE customer_id = 'C-1'",
    "texts": "INSERT INTO read_texts_v1.texts SELECT * FROM pg_temp.texts WHERE customer_id = 'C-1'",
}


@pytest.mark.parametrize("what", RESTORED)
def test_what_an_older_copy_brings_back_is_found_and_destroyed_again_at_start(told: Erasing, what: str) -> None:
    told.connection.execute("""
        CREATE TEMP TABLE customer_keys AS TABLE ledger.customer_keys;
        CREATE TEMP TABLE sealed AS TABLE ledger.sealed;
        CREATE TEMP TABLE texts AS TABLE read_texts_v1.texts
    """)
    assert told.erase() == "recorded"
    told.eraser().round()
    told.catch_up()
    for table in RESTORED[what]:
        told.connection.execute(RESTORE[table])
    if what == "projected texts":
        with pytest.raises(AssertionError):
            told.verify()
    else:
        assert told.found() == (RESTORED[what][0], 0)
    assert told.eraser().round() == 1
    assert told.left() == {}
    assert [each["through_leaf"] for each in told.completions()] == [5, 5]
    told.catch_up()
    assert told.found() is None
    assert told.eraser().round() == 0


def test_a_backup_from_before_the_destruction_is_brought_to_its_end_and_never_taken_for_the_newest(
    readable: str, data_dir: Path, tmp_path: Path, queue: str
) -> None:
    world = tell(Erasing(readable, data_dir, queue))
    assert world.erase() == "recorded"
    world.eraser().sign([world.order()])
    world.close()
    with copied(readable, "erasure_backup") as url:
        copy_directory(data_dir, tmp_path / "backup")
        with Ledger.open(world.settings) as ledger, connect(readable) as connection:
            assert Eraser(ledger, connection, texts, Letters(queue)).round() == 1
        with pytest.raises(Fork):  # the guard of this host has seen the completion
            Ledger.open(world.settings.model_copy(update={"database_url": url}))
        restored = Erasing(url, tmp_path / "backup", queue)
        assert "keys" in restored.left()
        assert restored.eraser().round() == 1
        assert restored.left() == {}
        restored.catch_up()
        assert restored.found() is None
        restored.close()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE ledger.customer_keys SET destroyed_at = destroyed_at - interval '1 day'", "customer_keys"),
        ("DELETE FROM ledger.sealed WHERE customer_id = 'C-2'", "sealed"),
        (
            "UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = now() WHERE customer_id = 'C-2'",
            "customer_keys",
        ),
    ],
)
def test_destroying_otherwise_than_the_log_orders_is_found(told: Erasing, change: str, found: str) -> None:
    assert told.erase() == "recorded"
    told.eraser().round()
    told.catch_up()
    assert told.found() is None
    told.connection.execute(change.encode())
    assert (told.found() or ("",))[0] == found


def test_a_text_gone_while_its_key_is_there_is_found_also_during_an_erasure(told: Erasing) -> None:
    assert told.erase() == "recorded"
    told.connection.execute("DELETE FROM ledger.sealed WHERE customer_id = 'C-1'")
    assert told.found() == ("sealed", 0)


def test_an_eraser_without_a_size_of_the_log_says_so(told: Erasing) -> None:
    assert told.erase() == "recorded"
    told.connection.execute("ALTER TABLE ledger.head ALTER size DROP NOT NULL; UPDATE ledger.head SET size = NULL")
    with pytest.raises(NotErased, match="how many events"):
        told.eraser().round()
    assert told.found() == ("head", None)


@pytest.mark.parametrize("column", ["state", "notification_id"])
def test_an_order_that_lost_a_value_is_passed_over_and_named_by_verify(told: Erasing, column: str) -> None:
    assert (told.erase("C-1"), told.erase("C-2")) == ("recorded", "recorded")
    told.connection.execute("ALTER TABLE ledger.events DROP CONSTRAINT events_pkey CASCADE")
    told.connection.execute(f"ALTER TABLE ledger.events ALTER {column} DROP NOT NULL".encode())
    told.tamper(f"UPDATE ledger.events SET {column} = NULL WHERE originator_id = 'erasure:C-1'")
    assert list(orders(told.connection_of_tuples())) == ["C-2"]
    problem = told.verify().problem
    assert problem is not None
    assert problem.table == "events"


def test_an_eraser_that_may_not_give_space_back_says_so(told: Erasing) -> None:
    assert told.erase() == "recorded"
    told.connection.execute("REVOKE MAINTAIN ON ledger.customer_keys FROM ledger_eraser")
    with pytest.raises(NotErased, match="customer_keys"):
        told.eraser().round()


def test_of_two_erasers_one_works_and_whoever_keeps_both_from_it_is_named(told: Erasing) -> None:
    """PostgreSQL lets every login take an advisory lock: an auditor's would stop erasures in silence."""
    assert told.erase() == "recorded"
    one, other = told.eraser(), told.eraser()
    other._connection.execute("SET lock_timeout = '200ms'")
    with one._alone(), pytest.raises(NotErased, match=r"process \d+ \(ledger_eraser\) of PostgreSQL"):
        other.round()
    with psycopg.connect(told.url.replace("postgres@", "ledger_relay@", 1), autocommit=True) as nobody:
        nobody.execute("SELECT pg_advisory_lock(hashtext('promise-ledger eraser'))")
        with pytest.raises(NotErased, match=rf"process {nobody.info.backend_pid} \(ledger_relay\)"):
            other.round()
    assert "keys" in told.left()
    assert other.round() == 1
