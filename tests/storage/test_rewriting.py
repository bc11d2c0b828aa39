"""`verify` against the owner of the database who makes hashes, tiles and head fit, or goes back: checkpoints tell."""

from typing import Any

import orjson
import pytest

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.note import Signer
from tests.storage.attack import SIZE, Attack

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


def test_the_first_of_several_wrong_places_is_named(attack: Attack):
    attack.run("DELETE FROM ledger.inbox WHERE leaf_index = 400")
    attack.run("DELETE FROM ledger.sealed WHERE leaf_index = 300")
    _forge(attack, 350)
    attack.run("UPDATE ledger.events SET leaf_hash = sha256('\\x00'::bytea || state)")
    assert attack.found() == ("sealed", 300)
    _forge(attack, 200)
    assert attack.found() == ("events", 200)


def test_the_first_of_several_wrong_leaves_is_named_whatever_is_wrong_with_it(attack: Attack):
    attack.run("UPDATE ledger.events SET topic = 'Other' WHERE notification_id = 23")
    assert attack.found() == ("events", 22)
    attack.run("DELETE FROM ledger.sealed WHERE leaf_index = 14")
    assert attack.found() == ("sealed", 14)
    attack.run("UPDATE ledger.inbox SET command_id = 'other' WHERE leaf_index = 9")
    assert attack.found() == ("inbox", 9)
    attack.run("DELETE FROM ledger.sealed WHERE leaf_index = 5")
    assert attack.found() == ("sealed", 5)


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


def _unsigned(attack: Attack, *events: dict[str, Any]) -> None:
    """The last events have these members instead, from leaf 150 on nothing is signed, and everything else fits."""
    attack.forget_checkpoints(150)
    for number, members in enumerate(events, SIZE - len(events) + 1):
        (row,) = attack.run("SELECT state FROM ledger.events WHERE notification_id = %s", number)
        entry = orjson.loads(row[0]) | members
        attack.run(
            "UPDATE ledger.events SET state = %s, originator_id = %s, originator_version = %s, topic = %s"
            " WHERE notification_id = %s",
            *(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS), entry["stream"], entry["version"], entry["type"]),
            number,
        )
    _rebuild(attack)


@pytest.mark.parametrize("recorded_at", ["infinity", "2026-03-01T14:00:08+02:00"])
def test_the_time_of_an_unsigned_event_that_is_none_is_named(attack: Attack, recorded_at: str):
    _unsigned(attack, {"recorded_at": recorded_at})
    assert attack.found(guard=lambda: attack.backup.early) == ("events", SIZE - 1)


ERASURE = {
    "stream": "erasure:C-1",
    "type": "subject.erasure_requested",
    "version": 1,
    "customer_id": "C-1",
    "data": {"grounds": "dsr-1"},
}
HOLD = {"stream": "hold:C-1", "type": "hold.lifted", "version": 1}


@pytest.mark.parametrize(
    "event",
    [
        {"customer_id": "C-1", "data": {}},
        {"customer_id": "C-2", "data": {"hold_id": "H-1", "grounds": "suit-7", "approver": "u-9"}},
        {"type": "subject.erasure_requested", "customer_id": "C-1", "data": {"grounds": "dsr-1"}},
    ],
    ids=["no event", "of another customer", "of another kind"],
)
def test_an_unsigned_event_among_the_holds_that_is_none_of_them_is_named(attack: Attack, event: dict[str, Any]):
    _unsigned(attack, ERASURE, HOLD | event)
    assert attack.found(guard=lambda: attack.backup.early, digest_key=None) == ("events", SIZE - 1)
