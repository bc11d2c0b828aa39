"""The fork guard: what is signed is committed, and nothing is signed that contradicts what was signed before."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import PersistenceError

from deploy.recovering import opened_case
from ledger.app import Ledger
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.entries import MalformedEntry
from ledger.storage.guard import SLOT_SIZE, ForkGuard, GuardDamaged
from ledger.storage.recorder import Head, LogRecorder, open_datastore
from ledger.storage.signer import Fork
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import Verifier
from tests.storage.log import Log, claim, copied, make, told


@pytest.fixture
def guard(tmp_path: Path) -> ForkGuard:
    return ForkGuard(tmp_path / "guard")


def written(path: Path) -> bytes | None:
    again = ForkGuard(path)
    try:
        return again.read()
    finally:
        again.close()


def test_the_guard_gives_back_the_last_note(tmp_path: Path):
    guard = ForkGuard(tmp_path / "guard")
    assert guard.read() is None
    for number in range(5):
        guard.write(b"note %d" % number)
        assert guard.read() == written(tmp_path / "guard") == b"note %d" % number
    guard.close()
    assert (tmp_path / "guard").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("writes", [1, 2, 3])
@pytest.mark.parametrize("torn", [1, 31, 43, 44, 46, SLOT_SIZE - 1])
def test_a_torn_write_of_either_slot_leaves_the_note_before(tmp_path: Path, writes: int, torn: int):
    """The next write got as far as `torn` bytes; the rest of its slot is what stood there."""
    path = tmp_path / "guard"
    guard = ForkGuard(path)
    for number in range(writes):
        guard.write(b"note %d" % number)
    before = path.read_bytes()
    guard.write(b"a later note")
    after = path.read_bytes()
    guard.close()
    slot = (writes + 1) % 2 * SLOT_SIZE
    assert before[:slot] == after[:slot]
    half = bytearray(before.ljust(2 * SLOT_SIZE, b"\0"))
    half[slot : slot + torn] = after[slot : slot + torn]
    path.write_bytes(half)
    complete = bytes(half[slot:]).startswith(after[slot:].rstrip(b"\0"))
    assert written(path) == (b"a later note" if complete else b"note %d" % (writes - 1))


def test_every_damaged_byte_of_both_slots_is_noticed(tmp_path: Path):
    path = tmp_path / "guard"
    guard = ForkGuard(path)
    guard.write(b"one")
    guard.write(b"two")
    guard.close()
    whole = path.read_bytes()
    used = 32 + 8 + 4 + 3
    for at in range(used):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert written(path) == b"one"  # of the second slot's note nothing is left
        damaged[SLOT_SIZE + at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(GuardDamaged, match="damaged"):
            written(path)


def filled(log: Log, events: int = 5) -> None:
    with log.open() as ledger:
        log._opened.clear()
        for number in range(events):
            told(ledger, make(number))


def signed_size(log: Log) -> int:
    note = log.guard_note()
    assert note is not None
    return open_checkpoint(note, Verifier.parse(log.vkey))[0].size


def remove(log: Log) -> None:
    log.settings.guard_path.unlink()


def damage(log: Log) -> None:
    content = log.settings.guard_path.read_bytes()
    log.settings.guard_path.write_bytes(bytes(byte ^ 1 for byte in content))


def empty(log: Log) -> None:
    log.settings.guard_path.write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "refusal", "words"),
    [(remove, Fork, "missing"), (empty, Fork, "missing"), (damage, GuardDamaged, "damaged")],
)
def test_a_signed_log_without_its_guard_is_not_opened(
    log: Log, harm: Callable[[Log], None], refusal: type[Exception], words: str
):
    filled(log)
    harm(log)
    with pytest.raises(refusal, match=f"{words}.*`promise-ledger recover`"):
        log.open()


@pytest.mark.parametrize("put_back", [False, True])
def test_a_guard_that_goes_away_under_a_running_service_is_missed_at_the_next_append(log: Log, put_back: bool):
    ledger = log.open()
    told(ledger, make(1))
    path = log.settings.guard_path
    content = path.read_bytes()
    path.unlink()
    if put_back:
        path.write_bytes(content)  # another file, which nobody writes
    with pytest.raises(Fork, match="was removed or replaced while it was in use; run `promise-ledger recover`"):
        ledger.append([make(2)])
    assert len(log.states()) == 1


@pytest.mark.parametrize("then", ["emptied", "an older copy"])
def test_a_guard_that_is_written_over_under_a_running_service_is_missed_at_the_next_append(log: Log, then: str):
    ledger = log.open()
    told(ledger, make(1))
    path = log.settings.guard_path
    older = path.read_bytes()
    told(ledger, make(2), make(3))
    path.write_bytes(b"" if then == "emptied" else older)  # the same file, as `cp` leaves it
    with pytest.raises(Fork, match="holds less than this service has signed; run `promise-ledger recover`"):
        ledger.append([make(4)])
    assert len(log.states()) == 3


def test_a_guard_that_is_missing_beside_an_empty_log_that_was_signed_is_not_believed(log: Log):
    filled(log, 0)
    remove(log)
    with pytest.raises(Fork, match="missing"):
        log.open()


def test_an_older_copy_of_the_database_is_not_opened(log: Log):
    filled(log, 2)
    with copied(log.url, "ledger_backup") as older:
        with log.open() as ledger:
            log._opened.clear()
            told(ledger, make(10))
        guard = log.settings.guard_path.read_bytes()
        with pytest.raises(Fork, match=r"3 events was signed, and the database holds fewer.*`promise-ledger recover`"):
            Ledger.open(log.settings.model_copy(update={"database_url": older}))
        assert log.settings.guard_path.read_bytes() == guard
    log.check_clean(3)


def test_a_database_that_became_older_under_a_running_service_is_not_signed(log: Log):
    """Restored under its feet, and grown again to a size that was signed already: another tree."""
    filled(log, 2)
    with copied(log.url, "ledger_restored") as older:
        with log.open() as ledger:
            log._opened.clear()
            told(ledger, make(10), make(11))
        other = shutil.copytree(log.settings.data_dir / "keys", log.settings.data_dir / "other" / "keys").parent
        shutil.copy(log.settings.guard_path, other / "guard.newest")
        restored = log.settings.model_copy(update={"database_url": older, "data_dir": other})
        # A service with the guard of then would sign it; the guard of now must not.
        (other / "guard").write_bytes(_guard_of_then(log, other))
        with Ledger.open(restored, clock=lambda: log.now) as service:
            shutil.copyfile(other / "guard.newest", other / "guard")
            for number in (20, 21, 22):
                with pytest.raises(Fork, match="4 events was signed, and the database holds fewer"):
                    service.submit([make(number)])
            with psycopg.connect(older) as connection:
                assert connection.execute("SELECT count(*) FROM ledger.events").fetchone() == (2,), "nothing is written"


@pytest.mark.parametrize("kept", [0, 3, 255, 256, 257])
def test_a_tail_cut_off_by_hand_is_noticed_though_the_head_says_otherwise(log: Log, kept: int):
    with log.open() as ledger:
        log._opened.clear()
        for start in (0, 128, 256):
            told(ledger, *(make(number) for number in range(start, start + 128)))
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.events WHERE notification_id > %s", [kept])
    with pytest.raises(Fork, match=r"some were removed by hand.*`promise-ledger recover`"):
        log.open()


def test_events_that_another_service_appends_meanwhile_are_not_taken_for_a_tail_cut_off(
    log: Log, monkeypatch: pytest.MonkeyPatch
):
    filled(log)
    busy, read = log.open(), LogRecorder.head

    def head(recorder: LogRecorder) -> Head:
        before = read(recorder)
        monkeypatch.undo()
        told(busy, make(30))
        return before

    monkeypatch.setattr(LogRecorder, "head", head)
    assert told(log.open(), make(31))
    assert log.verify().problem is None


def test_a_guard_of_another_key_is_not_signed_over(log: Log):
    filled(log)
    (log.settings.keys_dir / "log").write_bytes(bytes(32))
    with pytest.raises(Fork, match=r"of another key than keys/log.*`promise-ledger recover`"):
        log.open()


def _guard_of_then(log: Log, directory: Path) -> bytes:
    """The guard file as it was after two events."""
    ((note,),) = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 2")
    guard = ForkGuard(directory / "then")
    guard.write(note.encode())
    guard.close()
    return (directory / "then").read_bytes()


def test_a_rewritten_suffix_of_equal_length_is_not_opened(log: Log):
    filled(log)
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE ledger.events SET state = state || ' '::bytea WHERE notification_id = 5")
        from ledger.tlog.merkle import Frontier, leaf_hash

        rows = connection.execute("SELECT state FROM ledger.events ORDER BY notification_id").fetchall()
        frontier = Frontier().extend([leaf_hash(row[0]) for row in rows])
        connection.execute("UPDATE ledger.head SET frontier = %s", (frontier.to_bytes(),))
    with pytest.raises(
        Fork, match=r"the first 5 events in the database are not those that were signed.*`promise-ledger recover`"
    ):
        log.open()


def test_what_a_crash_left_committed_and_unsigned_is_signed_at_the_next_start(log: Log):
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, make(1))
        ledger.append([make(2), make(3)])
    assert signed_size(log) == 1
    assert log.verify().signed_size == 1
    ledger = log.open()
    assert signed_size(log) == 3
    for receipt in told(ledger, make(2), make(3)):
        log.check_receipt(receipt)
    log.check_clean(3)


@pytest.mark.parametrize("step", ["the commit", "before the commit"])
def test_nothing_is_signed_for_an_append_that_fails(log: Log, step: str):
    ledger = log.open()
    told(ledger, make(1))
    guard = log.settings.guard_path.read_bytes()
    with psycopg.connect(log.url) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
            + "CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON ledger.head"
            + (" DEFERRABLE INITIALLY DEFERRED" if step == "the commit" else "")
            + " FOR EACH ROW EXECUTE FUNCTION fail()"
        )
    with pytest.raises(PersistenceError):
        ledger.submit([make(2)])
    assert log.settings.guard_path.read_bytes() == guard
    with psycopg.connect(log.url) as connection:
        connection.execute("DROP TRIGGER fail ON ledger.head")
    (receipt,) = told(ledger, make(2))
    log.check_receipt(receipt)
    assert receipt["events"][0]["leaf_index"] == 1
    log.check_clean(2)


def test_the_guard_is_on_disk_before_a_signature_leaves(log: Log, monkeypatch: pytest.MonkeyPatch):
    """No guard, no receipt: where the file cannot be written, the batch is committed and nothing is said."""
    ledger = log.open()

    def full(_guard: ForkGuard, _note: bytes) -> Any:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(ForkGuard, "write", full)
        with pytest.raises(OSError, match="no space"):
            ledger.submit([make(1)])
        assert signed_size(log) == 0
    (receipt,) = told(ledger, make(1))
    log.check_receipt(receipt)
    log.check_clean(1)


def test_a_note_is_on_disk_before_the_guard_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    write, flush = os.pwrite, os.fdatasync
    monkeypatch.setattr(os, "pwrite", lambda *args: (order.append("write"), write(*args))[1])
    monkeypatch.setattr(os, "fdatasync", lambda file: (order.append("flush"), flush(file))[1])
    guard = ForkGuard(tmp_path / "guard")
    guard.write(b"a note")
    guard.close()
    assert order == ["write", "flush"]


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
def test_a_note_that_did_not_reach_the_disk_is_not_read_as_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Else the next one would be answered with a signature that a power cut can take out of the guard."""
    guard = ForkGuard(tmp_path / "guard")
    for note in (b"one", b"two"):
        guard.write(note)
    write = os.pwrite

    def full(handle: int, *written: Any) -> int:
        if call == "pwrite":
            return write(handle, written[0][:100], written[1])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            guard.write(b"three" * 50)
    assert guard.read() == b"two"
    guard.write(b"four")
    assert guard.read() == b"four"
    guard.close()


def test_what_an_owner_of_the_database_appends_by_hand_is_never_signed(log: Log, tmp_path: Path):
    """They have the source code and every right in the database, and none of the keys."""
    running = log.open()
    told(running, make(1))
    note = log.guard_note()
    attacker = Ledger(
        LogRecorder(open_datastore(log.url)),
        secrets=keys.create(Settings(data_dir=tmp_path)),
        origin=running.origin,
        guard=ForkGuard(tmp_path / "guard"),
        clock=lambda: log.now,
    )
    attacker.append([make(2)])
    attacker.close()
    by_hand = "head over 2 events was not written by a service of this log"
    with pytest.raises(Fork, match=by_hand):
        log.open()
    with pytest.raises(Fork, match=by_hand):
        running.append([make(3)])
    assert log.guard_note() == note
    assert log.ask("SELECT size FROM ledger.head") == [(2,)], "and nothing is appended to it"
    problem = log.verify(key_encryption_key=None).problem
    assert problem is not None
    assert (problem.table, problem.leaf_index) == ("head", 2)
    assert log.verify(key_encryption_key=None, digest_key=None).problem is None, "within the database it is whole"


def test_a_head_that_was_signed_needs_no_mac(log: Log):
    """That of a release that wrote none, say: guard and head agree, so nothing is believed."""
    told(log.open(), make(1))
    log.close()
    with psycopg.connect(log.url) as connection:
        connection.execute("UPDATE ledger.head SET mac = NULL")
    log.check_clean(1)
    told(log.open(), make(2))
    log.check_clean(2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "frontier = NULL",
            r"has not the hashes of 1 events \(the hashes are not bytes\): run `promise-ledger recover`",
        ),
        ("frontier = ''", "has not the hashes of 1 events"),
        ("size = NULL", "has not the hashes of None events"),
        ("recorded_at = NULL", "does not say when its last event was recorded: run `promise-ledger recover`"),
    ],
)
def test_a_head_that_lacks_something_is_a_sentence(log: Log, change: str, sentence: str):
    ledger = log.open()
    told(ledger, make(1))
    with psycopg.connect(log.url) as connection:
        for column in ("frontier", "size", "recorded_at"):
            connection.execute(f"ALTER TABLE ledger.head ALTER {column} DROP NOT NULL".encode())
        connection.execute(f"UPDATE ledger.head SET {change}".encode())
    with pytest.raises(Fork, match=sentence):
        told(ledger, make(2))
    with pytest.raises(Fork, match=sentence):
        log.open()
    with opened_case(log.settings) as case:  # which `recover` says more of
        assert not case.found.stored.authentic


def test_an_event_that_lost_its_place_is_a_sentence_and_is_not_built_upon(log: Log):
    told(log.open(), make(1))
    log.close()
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE ledger.events DROP CONSTRAINT events_pkey CASCADE")
        connection.execute("ALTER TABLE ledger.events ALTER notification_id DROP NOT NULL")
        connection.execute(
            "INSERT INTO ledger.events SELECT NULL, originator_id, originator_version + 1, topic, state, leaf_hash "
            "FROM ledger.events"
        )
    sentence = r"an event \(promise.made\) has lost its place in the log: run `promise-ledger verify`"
    with pytest.raises(MalformedEntry, match=sentence):
        told(log.open(), claim(1))


def test_a_time_that_somebody_wrote_into_the_head_is_never_signed(log: Log):
    """No later event could be recorded before it: one UPDATE would spoil every question of what was known when."""
    ledger = log.open()
    told(ledger, make(1), make(2))
    with psycopg.connect(log.url) as connection:
        connection.execute("UPDATE ledger.head SET recorded_at = '2099-12-31T00:00:00Z'")
    for again in (ledger, log.open()):
        (receipt,) = told(again, make(3))
        assert receipt["recorded_at"].startswith("2026-03-01T12:00:00")
    log.check_clean(3)


def test_a_guard_that_another_thread_signs_into_meanwhile_is_not_taken_for_written_over(
    log: Log, monkeypatch: pytest.MonkeyPatch
):
    ledger = log.open()
    told(ledger, make(1))
    guard = ledger._signer._guard
    read, signed = guard.read, []

    def reading() -> bytes | None:
        note = read()
        if not signed:
            signed.append(2)
            told(ledger, make(2))
        return note

    monkeypatch.setattr(guard, "read", reading)
    ledger._signer.refuse_behind(1)
    assert signed == [2]
