"""Rotations of the key that signs the log: each key for its range, the rotation in the log, a crash at each step."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.receipts import UnprovenReceipt, open_answer
from deploy.witness import open_witness
from ledger import log_rotation
from ledger.app import Fork, Ledger
from ledger.key_provider import KeyProblem
from ledger.log_rotation import rotate_log_key
from ledger.receipts import Receipt
from ledger.recovery.evidence import NotRecovered
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.log_keys import key_ranges, read_rotations
from ledger.storage.migrations import create_log
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.witness import AddCheckpoint
from tests.storage.log import Log, make, told


class Rotated:
    """A log of 4 events under the old key, the rotation as leaf 4, then 3 events under the new key; a second apart."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.seed = log.secrets.log
        self.old = log.vkey
        with opened_on(log) as ledger:
            self.before = ledger.submit([make(number) for number in range(4)])[0].to_json()
        self.old_note = log.guard_note() or b""
        assert rotate(log)[0] == self.old
        self.new = current(log)
        with opened_on(log) as ledger:
            self.after = ledger.submit([make(number) for number in range(4, 7)])[0].to_json()


def opened_on(log: Log) -> Ledger:
    return Ledger.open(log.settings, clock=lambda: log.now)


def rotate(log: Log) -> tuple[str, str]:
    return rotate_log_key(log.settings, lambda: log.now)


def current(log: Log) -> str:
    return Signer(log.settings.origin, keys.secrets_of(log.settings).log).vkey


def check_clean(log: Log, size: int, **changed: Any) -> None:
    report = log.verify(**changed)
    assert report.problem is None, report.problem
    assert (report.size, report.signed_size) == (size, size)


def problem(log: Log, **changed: Any) -> str:
    report = log.verify(**changed)
    assert report.problem is not None
    return report.problem.message


def store(log: Log, note: bytes) -> None:
    """As the owner of the database, who writes what he likes."""
    size = Checkpoint.parse(Note.parse(note).text).size
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.checkpoints WHERE size = %s", (size,))
        connection.execute("INSERT INTO ledger.checkpoints VALUES (%s, %s, now())", (size, note.decode()))


def resigned(note: bytes, *seeds: bytes) -> bytes:
    """The same checkpoint, signed by others."""
    text = Note.parse(note).text
    name = Checkpoint.parse(text).origin
    return Note(text, tuple(Signer(name, seed).signature(text) for seed in seeds)).format()


def test_each_key_signs_its_range_and_vouches_for_the_other(log: Log):
    rotated = Rotated(log)
    assert not (log.settings.keys_dir / "log.next").exists()
    assert [path.name for path in log.settings.keys_dir.glob("log*")] == ["log"], "the old key is destroyed"
    for pinned in (rotated.old, rotated.new):
        check_clean(log, 8, vkey=pinned, kept=[rotated.old_note])
        check_clean(log, 8, vkey=pinned, guard=None)
    with psycopg.connect(log.url) as connection:
        ranges = key_ranges(read_rotations(connection.cursor()))
    assert [(each.verifier.vkey, each.first, each.last) for each in ranges] == [
        (rotated.old, 0, 5),
        (rotated.new, 5, None),
    ]
    again = rotate(log)
    assert again[0] == rotated.new != again[1]
    for pinned in (rotated.old, *again):
        check_clean(log, 9, vkey=pinned, kept=[rotated.old_note])
    stranger = Signer(log.settings.origin, bytes(32)).vkey
    assert "no checkpoint that" in problem(log, vkey=stranger, guard=None)


def test_receipts_hold_under_the_key_of_their_time(log: Log):
    rotated = Rotated(log)
    old, new = Verifier.parse(rotated.old), Verifier.parse(rotated.new)

    def opened(body: bytes, number: int, *verifiers: Verifier) -> None:
        answer = open_answer(body, source="crm", command_id=f"m-{number}", verifiers=verifiers)
        assert answer.status == "recorded"

    opened(rotated.before, 0, old)
    opened(rotated.after, 4, new)
    for body, number in ((rotated.before, 0), (rotated.after, 4)):
        opened(body, number, old, new)
        opened(body, number, new, old)
    for body, number, pinned in ((rotated.before, 0, new), (rotated.after, 4, old)):
        with pytest.raises(UnprovenReceipt, match="it names another key of this log than the pinned"):
            opened(body, number, pinned)
    with opened_on(log) as ledger:  # sent again: proven under the key in use
        opened(ledger.submit([make(0)])[0].to_json(), 0, new)


def test_an_earlier_command_is_proven_under_a_witnessed_checkpoint_of_the_old_key(log: Log):
    rotated = Rotated(log)
    with psycopg.connect(log.url) as connection:
        connection.execute("INSERT INTO ledger.witnessed VALUES (4, %s, now())", (rotated.old_note.decode(),))
    with opened_on(log) as ledger:
        ledger.witness_policy = Policy.parse("quorum none\n")
        answer = ledger.submit([make(0)])[0].to_json()
    opened = open_answer(answer, source="crm", command_id="m-0", verifiers=[Verifier.parse(rotated.old)])
    assert isinstance(opened, Receipt)
    assert opened.witnessed


def test_a_thief_with_the_old_key_is_found(log: Log):
    rotated = Rotated(log)
    newest = log.guard_note() or b""
    stolen = resigned(newest, rotated.seed)
    for pinned in (rotated.old, rotated.new):
        assert "whoever has this one signs on" in problem(log, vkey=pinned, kept=[stolen])
    other = Checkpoint(log.settings.origin, 3, bytes(32)).sign(Signer(log.settings.origin, rotated.seed))
    assert "are not those that a kept checkpoint was signed for" in problem(log, vkey=rotated.new, kept=[other])
    store(log, stolen)
    for pinned in (rotated.old, rotated.new):
        assert "whoever has this one signs on" in problem(log, vkey=pinned)
    store(log, newest)
    check_clean(log, 8, vkey=rotated.new)
    early = resigned(rotated.old_note, keys.secrets_of(log.settings).log)
    assert "whoever has this one signs on" in problem(log, vkey=rotated.old, kept=[early])


def test_a_key_that_nobody_vouches_for_is_not_believed(log: Log):
    """The owner of the database, without a guard beside it, names a key of his own and signs on with it."""
    rotated = Rotated(log)
    both = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 5")[0][0].encode()
    check_clean(log, 8, vkey=rotated.old, guard=None)
    store(log, resigned(both, keys.secrets_of(log.settings).log))  # the old key never covered the event
    assert "no checkpoint that" in problem(log, vkey=rotated.old, guard=None)
    check_clean(log, 8, vkey=rotated.new, guard=None)
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.checkpoints WHERE size >= 5")
    assert "no checkpoint that" in problem(log, vkey=rotated.new, guard=None)


class Crash(Exception):
    pass


STEPS: dict[str, tuple[Any, str]] = {
    "the new key is there": (log_rotation, "_said"),
    "the event is committed": (Ledger, "hand_over"),
    "the guard is written": (Ledger, "_store_checkpoint"),
    "both have signed": (keys, "replace_log_key"),
    "the old key has two names": (Path, "replace"),
    "the new key is in place": (keys, "destroy"),
}


@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_the_same_again_goes_on(log: Log, step: str, monkeypatch: pytest.MonkeyPatch):
    with opened_on(log) as ledger:
        told(ledger, *(make(number) for number in range(4)))
    old = current(log)

    place, name = STEPS[step]

    def crash(*arguments: Any) -> None:
        if name != "_store_checkpoint" or arguments[1].size == 5:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(place, name, crash)
        with pytest.raises(Crash):
            rotate(log)
    begun = step not in ("the new key is there", "the new key is in place")
    if begun:
        with pytest.raises(KeyProblem, match=r"rotated at leaf 4: .* `promise-ledger keys rotate-log` finishes it"):
            opened_on(log)
    size = 4 if step == "the new key is there" else 5
    if step != "the event is committed":
        check_clean(log, size, vkey=old)
    rotate(log)
    new = current(log)
    assert new != old
    assert [path.name for path in log.settings.keys_dir.glob("log*")] == ["log"]
    with opened_on(log) as ledger:
        told(ledger, make(9))
    for pinned in (old, new):
        check_clean(log, 6, vkey=pinned)
    assert len(log.ask("SELECT 1 FROM ledger.events WHERE topic = 'log.key_rotated'")) == 1


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(bytes(32))])
def test_a_rotation_that_lost_its_new_key_signs_nothing(
    log: Log, harm: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
):
    with opened_on(log) as ledger:
        told(ledger, make(1))

    def crash(*arguments: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "hand_over", crash)
        with pytest.raises(Crash):
            rotate(log)
    guarded = log.guard_note()
    harm(log.settings.keys_dir / "log.next")
    with pytest.raises(KeyProblem, match=r"log\.next is (missing|another one): put it back"):
        rotate(log)
    assert log.guard_note() == guarded


def test_a_key_that_signed_before_takes_nobodys_place(log: Log):
    with opened_on(log) as ledger:
        told(ledger, make(1))
    shutil.copy(log.settings.keys_dir / "log", log.settings.keys_dir / "log.next")
    with pytest.raises(KeyProblem, match="signed this log before: a rotation needs a key that never did"):
        rotate(log)
    (log.settings.keys_dir / "log.next").unlink()
    rotate(log)
    check_clean(log, 2, vkey=current(log))


def test_a_service_that_runs_is_no_danger(log: Log):
    """It was not seen at work: it neither appends nor signs after the rotation, and says why."""
    with opened_on(log) as running:
        told(running, make(1))
        rotate(log)
        before = log.guard_note()
        with pytest.raises(KeyProblem, match="rotated at leaf 1"):
            told(running, make(2))
        assert log.guard_note() == before
        with opened_on(log) as other:
            told(other, make(3))
        with pytest.raises((KeyProblem, Fork)):
            told(running, make(2))
    check_clean(log, 3, vkey=current(log))


def test_a_running_service_is_asked_to_stop(log: Log):
    with psycopg.connect(log.url) as connection:
        connection.execute("INSERT INTO service.heartbeat VALUES ('intake', now(), '{}')")
    with pytest.raises(NotRecovered, match="intake was at work 0 s ago: stop the services that write"):
        rotate(log)
    assert not (log.settings.keys_dir / "log.next").exists()


def test_a_key_from_a_variable_is_not_replaced(log: Log):
    seed = (log.settings.keys_dir / "log").read_bytes()
    (log.settings.keys_dir / "log").unlink()
    given = Settings(data_dir=log.settings.data_dir, database_url=log.url, key_log=seed.hex())
    create_log(given)
    with pytest.raises(
        KeyProblem, match="given by LEDGER_KEY_LOG, and only a file is replaced by itself: give the new key"
    ):
        rotate_log_key(given, lambda: log.now)


def test_a_witness_that_knows_both_keys_follows(log: Log, tmp_path: Path):
    rotated = Rotated(log)

    def asked(witness: Any, old_size: int, note: bytes) -> int:
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        proof: tuple[bytes, ...] = ()
        if 0 < old_size < checkpoint.size:
            with psycopg.connect(log.url) as connection:
                proof = tuple(TreeReader(connection.cursor()).consistency_proof(old_size, checkpoint.size))
        body = AddCheckpoint(old_size, proof, Note.parse(note), checkpoint).format()
        status: int = witness.add_checkpoint(body).status
        return status

    both = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 5")[0][0].encode()
    newest = log.guard_note() or b""
    old, new = Verifier.parse(rotated.old), Verifier.parse(rotated.new)
    follower, _ = open_witness(tmp_path / "both", [old, new], "witness.example/both")
    assert [asked(follower, 0, rotated.old_note), asked(follower, 4, both), asked(follower, 5, newest)] == [200] * 3
    left, _ = open_witness(tmp_path / "old", [old], "witness.example/old")
    assert [asked(left, 0, rotated.old_note), asked(left, 4, both), asked(left, 5, newest)] == [200, 200, 403]
