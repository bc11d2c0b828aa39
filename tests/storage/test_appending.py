"""Appending as senders see it: redelivery, refusals, two writers at once, the order of times, seals."""

import base64
import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from ledger.app import Ledger, Submission
from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.erasure.sealing import commitment, unseal
from ledger.settings import MAX_BATCH
from tests.storage.log import NOON, WORDS, Log, answers, claim, make, recorded, submission, tell, told


def codes(given: list[dict[str, Any]]) -> list[str]:
    return [answer.get("code", "recorded") for answer in given]


def test_every_receipt_proves_each_of_its_events(log: Log):
    ledger = log.open()
    first = told(ledger, make(1), make(2), tell(1), claim(2))
    again = told(ledger, make(3), tell(1), make(1))
    assert codes(first + again) == ["recorded"] * 7
    assert [len(answer["events"]) for answer in first] == [1, 1, 2, 1]
    for receipt in first + again:
        log.check_receipt(receipt)
    log.check_clean(6)


def test_the_same_again_gives_the_original_receipt_in_the_batch_later_and_after_a_restart(log: Log):
    with log.open() as ledger:
        log._opened.clear()
        one, within = told(ledger, make(1), make(1))
        (both,) = told(ledger, tell(1))
        log.now += timedelta(hours=1)
        later = told(ledger, make(1), tell(1), make(2))
    restarted = told(log.open(), tell(1), make(1))
    assert recorded(one) == recorded(within) == recorded(later[0]) == recorded(restarted[1])
    assert recorded(both) == recorded(later[1]) == recorded(restarted[0])
    for receipt in (within, *later, *restarted):
        log.check_receipt(receipt)
    log.check_clean(4)


def test_other_content_under_a_used_id_is_refused_and_that_is_recorded_once(log: Log):
    ledger = log.open()
    other = make(9, command_id="m-1")
    assert codes(told(ledger, make(1), other, other)) == ["recorded", "id-reused", "id-reused"]
    assert codes(told(ledger, other, make(1))) == ["id-reused", "recorded"]
    assert codes(told(log.open(), other, make(8, command_id="m-1"), make(1))) == ["id-reused", "id-reused", "recorded"]
    log.check_clean(3)


def test_a_refusal_delivered_again_is_the_same_refusal_and_recorded_once(log: Log):
    ledger = log.open()
    first = told(ledger, claim(1), claim(1))
    told(ledger, make(1))
    assert first[0]["status"] == "refused"
    assert told(ledger, claim(1)) == told(log.open(), claim(1)) == first[:1] == first[1:]
    log.check_clean(2)


def test_the_same_id_of_two_sources_is_two_commands(log: Log):
    assert codes(told(log.open(), make(1, command_id="x"), make(2, command_id="x", source="shop"))) == ["recorded"] * 2


@pytest.mark.parametrize("size", [0, MAX_BATCH + 1])
def test_a_batch_has_one_to_five_hundred_commands(log: Log, size: int):
    ledger = log.open()
    with pytest.raises(ValueError, match="1 to 500"):
        ledger.append([make(number) for number in range(size)])
    assert codes(told(ledger, *(make(number) for number in range(MAX_BATCH)))) == ["recorded"] * MAX_BATCH
    log.check_clean(MAX_BATCH)


def test_an_entry_too_large_is_refused_and_harms_no_neighbour(log: Log, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ledger.storage.entries.MAX_ENTRY_BYTES", 700)
    ledger = log.open()
    huge = claim(1, evidence="e" * 256, case_id="c" * 128)
    assert codes(told(ledger, make(1), huge, make(2))) == ["recorded", "too-large", "recorded"]
    assert codes(told(ledger, huge, claim(1, evidence="e"))) == ["too-large", "id-reused"]
    assert max(map(len, log.states())) <= 700
    log.check_clean(4)


def test_recorded_at_never_decreases_whatever_the_clock_does(log: Log):
    one, other = log.open(), log.open()
    for number, hours in enumerate([0, 5, -300, 6, 6.5, -1, 7]):
        log.now = NOON + timedelta(hours=hours)
        told(one if number % 2 else other, make(number))
    times = [orjson.loads(state)["recorded_at"] for state in log.states()]
    assert times == sorted(times)
    assert [time[11:16] for time in times] == ["12:00", "17:00", "17:00", "18:00", "18:30", "18:30", "19:00"]
    log.check_clean(7)


# Two writers at once, staged: one stands inside its transaction until the other is seen waiting for the head row.


class Held:
    """An append that stops inside its transaction, after `decide` and `write`, until it is let go."""

    def __init__(self, ledger: Ledger, batch: list[Submission], monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside, self.go = threading.Event(), threading.Event()
        self.outcomes: list[Any] = []
        recorder = ledger._recorder
        appending = recorder.appending

        @contextmanager
        def held():  # type: ignore[no-untyped-def]
            with appending() as append:
                yield append
                self.inside.set()
                assert self.go.wait(20)

        monkeypatch.setattr(recorder, "appending", held)
        self.thread = threading.Thread(target=lambda: self.outcomes.append(ledger.append(batch)))
        self.thread.start()
        assert self.inside.wait(20)

    def finish(self) -> Any:
        self.go.set()
        self.thread.join(20)
        return self.outcomes[0]


def waits_for_the_head(log: Log) -> bool:
    return log.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ) == [(1,)]


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


def test_two_writers_at_once_wait_for_one_another_and_are_both_right(log: Log, monkeypatch: pytest.MonkeyPatch):
    one, other = log.open(), log.open()
    told(one, make(1))
    told(other, make(2))
    held = Held(one, [make(3), claim(1), make(30, customer_id="C-new")], monkeypatch)
    slower: list[Any] = []
    # The other remembers P-1 as unclaimed and C-new as unknown: it must read both anew once it has the lock.
    again = submission("promise.claim_kept", "other-1", promise_id="P-1")
    batch = [again, claim(3), make(31, customer_id="C-new"), make(3)]
    thread = threading.Thread(target=lambda: slower.append(other.append(batch)))
    thread.start()
    until(lambda: waits_for_the_head(log))
    first = held.finish()
    thread.join(20)
    # The faster one is answered last: the checkpoint that covers it is the other's, over more leaves.
    answered_second = answers(other.answer(slower[0]))
    answered_first = answers(one.answer(first))
    assert codes(answered_first) == ["recorded"] * 3
    assert codes(answered_second)[1:] == ["recorded"] * 3
    assert answered_second[0]["status"] == "refused"
    assert recorded(answered_second[3]) == recorded(answered_first[0])
    indexes = [e["leaf_index"] for a in answered_first + answered_second[1:3] for e in a["events"]]
    assert indexes == [2, 3, 4, 6, 7]
    notes = {answer["proof"].split("\n\n", 1)[1] for answer in answered_first + answered_second[1:]}
    assert len(notes) == 1
    for receipt in answered_first + answered_second[1:]:
        log.check_receipt(receipt)
    assert log.ask("SELECT count(*) FROM ledger.customer_keys WHERE customer_id = 'C-new'") == [(1,)]
    log.check_clean(8)


def test_writers_that_take_turns_see_what_the_other_wrote(log: Log):
    one, other = log.open(), log.open()
    for number in range(6):
        writer, reader = (one, other) if number % 2 else (other, one)
        assert codes(told(writer, make(number))) == ["recorded"]
        assert codes(told(reader, claim(number))) == ["recorded"]
        assert (
            told(writer, submission("promise.claim_kept", f"x-{number}", promise_id=f"P-{number}"))[0]["status"]
            == "refused"
        )
    log.check_clean(18)


# Sealing.


def test_no_personal_word_is_anywhere_in_the_database(log: Log):
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, make(1), tell(1), submission("promise.dispute", "x", promise_id="P-1", text=f"{WORDS}? no!"))
        told(ledger, make(1), make(2, command_id="m-1"))
    searched = 0
    with psycopg.connect(log.url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            for format_ in ("text", "binary"):
                copy = SQL("COPY {} TO STDOUT (FORMAT {})").format(Identifier(schema, table), SQL(format_))
                with connection.cursor().copy(copy) as out:
                    content = b"".join(bytes(part) for part in out)
                searched += len(content)
                for spelled in (WORDS.encode(), b"sofa", WORDS.encode().hex().encode(), b"sofa".hex().encode()):
                    assert spelled not in content, f"{schema}.{table}"
    assert searched > 5000
    assert {table for _, table in tables} >= {"events", "inbox", "sealed", "customer_keys"}


def test_the_seal_opens_to_the_words_that_the_entry_commits_to(log: Log):
    told(log.open(), make(1))
    ((ciphertext, version, wrapped),) = log.ask(
        "SELECT ciphertext, key_version, wrapped FROM ledger.sealed"
        " JOIN ledger.customer_keys USING (customer_id, key_version)"
    )
    entry = orjson.loads(log.states()[0])
    cipher = Keyring(log.secrets.kek).unwrap("C-1", version, wrapped)
    opened = unseal(cipher, ciphertext, event_id=entry["event_id"], customer_id="C-1", key_version=version)
    assert orjson.loads(opened.personal) == {"text": f"{WORDS} 1"}
    made = commitment(opened.opening, entry["event_id"], opened.personal)
    assert base64.b64decode(entry["personal"]["commitment"]) == made
    with pytest.raises(KeyUnwrapFailed, match="key is not the key of this log"):
        Keyring(bytes(32)).unwrap("C-1", version, wrapped)


def test_under_another_key_encryption_key_nothing_is_sealed_and_the_log_goes_on(log: Log):
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, make(1))
    kek = log.settings.keys_dir / "kek"
    right = kek.read_bytes()
    kek.write_bytes(bytes(32))
    with pytest.raises(KeyUnwrapFailed, match="the key of this log"):
        log.open()
    unstarted = Ledger.open(log.settings, clock=lambda: log.now, start=False)
    with unstarted as wrong, pytest.raises(KeyUnwrapFailed, match="the key of this log"):
        wrong.append([make(8)])
    kek.write_bytes(right)
    assert codes(told(log.open(), make(8))) == ["recorded"]
    log.check_clean(2)


def test_the_key_of_an_erased_customer_is_never_made_again(log: Log):
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, make(1), make(2))
    with psycopg.connect(log.url) as connection:
        connection.execute("DELETE FROM ledger.sealed WHERE customer_id = 'C-1'")
        connection.execute(
            "UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = now() WHERE customer_id = 'C-1'"
        )
    ledger = log.open()
    given = told(ledger, make(8), make(9), make(15), claim(1))
    assert codes(given) == ["customer-erased", "recorded", "customer-erased", "recorded"]
    assert WORDS not in given[0]["message"]
    assert codes(told(log.open(), make(8), make(22))) == ["customer-erased"] * 2
    assert log.ask("SELECT key_version, wrapped FROM ledger.customer_keys WHERE customer_id = 'C-1'") == [(1, None)]
    assert log.ask("SELECT count(*) FROM ledger.sealed WHERE customer_id = 'C-1'") == [(0,)]


# Any way of cutting commands into batches writes the same history.

COMMANDS = [
    *(make(number) for number in range(4)),
    *(claim(number) for number in (0, 1, 7)),
    tell(2),
    make(9, command_id="m-1"),
    submission("promise.reschedule", "r-2", promise_id="P-2", new_due_at=NOON + timedelta(days=3), disclosure_id="D-2"),
    submission("promise.dispute", "x-0", promise_id="P-0", text=WORDS),
    submission("promise.verify", "v-1", promise_id="P-1", verified_by="u-9"),
]


@settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.sets(st.integers(1, 19), max_size=8), order=st.permutations(range(len(COMMANDS))), redelivered=st.data())
def test_any_split_into_batches_gives_the_same_entries_and_states(
    log: Log, cuts: set[int], order: list[int], redelivered: st.DataObject
):
    commands = [COMMANDS[number] for number in order]
    commands += [redelivered.draw(st.sampled_from(commands)) for _ in range(20 - len(commands))]
    histories = []
    for bounds in ([0, 20], [0, *sorted(cuts), 20]):
        _empty(log)
        ledger = log.open()
        given = [code for start, stop in pairwise(bounds) for code in codes(told(ledger, *commands[start:stop]))]
        states = {name: state for name, (state, _) in ledger._streams._known.items() if state is not None}
        log.close()
        histories.append((given, [_timeless(state) for state in log.states()], states))
        assert log.verify().problem is None
    assert histories[0][:2] == histories[1][:2]
    assert histories[0][2] == histories[1][2]


def _timeless(state: bytes) -> dict[str, Any]:
    entry = orjson.loads(state)
    entry.get("personal", {}).pop("commitment", None)
    return {name: value for name, value in entry.items() if name != "event_id"}


def _empty(log: Log) -> None:
    """The log as it was before the first event."""
    log.settings.guard_path.unlink(missing_ok=True)
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for table in ("events", "inbox", "sealed", "customer_keys", "tiles", "checkpoints"):
            connection.execute(SQL("DELETE FROM {}").format(Identifier("ledger", table)))
        connection.execute("UPDATE ledger.head SET size = 0, frontier = ''")
