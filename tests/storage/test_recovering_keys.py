"""What was kept of a log whose signing key was rotated: evidence under either key is understood, or said to be so."""

from pathlib import Path

import pytest

from ledger.app import Fork, Ledger
from ledger.erasure import rotation
from ledger.log_rotation import rotate_log_key
from ledger.recovery.evidence import NotRecovered
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Signer
from tests.storage.log import Log, copied, copy_directory, make, told
from tests.storage.place import Killed, Place, export


@pytest.fixture
def place(log: Log) -> Place:
    """A log of 4 events."""
    place = Place(log, log.settings)
    append(place, 4)
    return place


def append(place: Place, number: int) -> None:
    with place.open() as ledger:
        size = place.ask("SELECT count(*) FROM ledger.events")[0][0]
        told(ledger, *(make(each) for each in range(size, size + number)))


def kept(path: Path, note: bytes | None) -> Path:
    path.write_bytes(note or b"")
    return path


def guarded(place: Place) -> bytes | None:
    return read_guard(place.settings.guard_path)


def rotate(place: Place) -> str:
    """The new key, under which a fifth event says that it is the new one."""
    return rotate_log_key(place.settings, lambda: place.log.now)[1]


def test_what_an_earlier_key_signed_is_evidence(place: Place, tmp_path: Path) -> None:
    early, old = kept(tmp_path / "early", guarded(place)), Signer(place.settings.origin, place.log.secrets.log)
    new = rotate(place)
    append(place, 2)
    diagnosis = place.diagnosis(kept=[early])
    assert f"the checkpoint of {early} covers 4 events" in diagnosis.found
    assert diagnosis.problems == ()
    forged = kept(tmp_path / "forged", Checkpoint(old.name, 3, bytes(32)).sign(old))
    assert "two services have signed with one key" in place.diagnosis(kept=[forged]).problems[0]
    note = Note.parse(guarded(place) or b"")
    beyond = kept(tmp_path / "beyond", Note(note.text, (old.signature(note.text),)).format())
    assert any("whoever has that one signs on" in fact for fact in place.diagnosis(kept=[beyond]).found)
    place.settings.guard_path.unlink()
    place.guard(kept=[early])
    place.check_clean(8, new)


def test_a_guard_is_of_the_key_in_use(place: Place, tmp_path: Path) -> None:
    early = kept(tmp_path / "early", guarded(place))
    new = rotate(place)
    append(place, 2)
    late = kept(tmp_path / "late", guarded(place))
    place.settings.guard_path.unlink()
    place.harm("DELETE FROM ledger.checkpoints")
    with pytest.raises(
        NotRecovered, match="signed by an earlier key alone, and a fork guard has to be of the key in use"
    ):
        place.guard(kept=[early])
    assert place.ask("SELECT count(*) FROM ledger.events") == [(7,)]
    place.guard(kept=[late])
    place.check_clean(8, new)


def test_an_older_copy_comes_back_under_the_newer_key(place: Place, tmp_path: Path) -> None:
    early = kept(tmp_path / "early", guarded(place))
    with copied(place.log.url, "ledger_before_rotation") as url:
        new = rotate(place)
        append(place, 2)
        restored = Place(place.log, place.settings.model_copy(update={"database_url": url}))
        diagnosis = restored.diagnosis(kept=[early])
        assert "the fork guard covers 7 events and the database holds 4" in diagnosis.problems[0]
        assert any("another key of that name has signed it" in fact for fact in diagnosis.found)
        restored.entries(export(place, tmp_path / "site"))
        restored.check_clean(8, new)


def test_a_copy_from_before_a_new_key_encryption_key_comes_back_with_the_key_of_its_time(
    place: Place, tmp_path: Path
) -> None:
    old = keys.secrets_of(place.settings).kek
    assert isinstance(old, bytes)

    def rewrap() -> bytes:
        with place.open() as ledger:
            rotation.rotate(ledger, keys.secrets_of(place.settings), clock=lambda: place.log.now)
        return keys.load(place.settings.keys_dir).kek

    with copied(place.log.url, "ledger_before_rewrap") as url:
        new = rewrap()
        append(place, 2)
        site = export(place, tmp_path / "site")
        place.settings = place.settings.model_copy(update={"database_url": url})
        for recover in (place.entries, place.anew):
            with pytest.raises(NotRecovered, match=r"the data key of customer C-. does not open.*keys/kek.old"):
                recover(site)
        assert place.ask("SELECT count(*) FROM ledger.events") == [(4,)]
        path = place.settings.keys_dir / "kek.old"
        path.touch(mode=0o600)
        path.write_bytes(old)
        place.entries(site)
        newest = rewrap()
        assert (path.exists(), newest) == (False, new)
        assert place.verify(key_encryption_key=newest).problem is None


def test_a_host_restored_from_before_a_rotation_is_told_so_and_signs_nothing(place: Place, tmp_path: Path) -> None:
    host = tmp_path / "host"
    copy_directory(place.settings.data_dir, host)
    with copied(place.log.url, "ledger_old_host") as url:
        rotate(place)
        append(place, 2)
        newest = kept(tmp_path / "newest", guarded(place))
        restored = Place(place.log, place.settings.model_copy(update={"database_url": url, "data_dir": host}))
        assert keys.secrets_of(restored.settings).log == place.log.secrets.log
        assert restored.diagnosis().problems == ()
        diagnosis = restored.diagnosis(kept=[newest])
        assert diagnosis.problems == (
            f"the checkpoint of {newest} covers 7 events and is signed by another key of this log's name, which "
            "neither the keys nor the events here know: the log's key was rotated after this copy of it was made, or "
            "somebody made that up",
        )
        assert diagnosis.commands[0].startswith("put the newer keys/log and its fork guard in place")
        site = export(place, tmp_path / "site")
        restored.settings.guard_path.unlink()
        with restored.case(site, kept=[newest]) as case:
            recovery = restored.recovery(case)
            for recover in (recovery.guard, lambda: recovery.entries(case.missing())):
                with pytest.raises(NotRecovered, match="the log's key was rotated after this copy of it was made"):
                    recover()
        assert restored.ask("SELECT count(*) FROM ledger.events") == [(4,)]
        assert not restored.settings.guard_path.exists()


def test_an_old_key_beside_a_newer_log_and_guard_is_not_taken_for_all_being_well(place: Place) -> None:
    path = place.settings.keys_dir / "log"
    old = path.read_bytes()
    rotate(place)
    append(place, 2)
    new = path.read_bytes()
    path.write_bytes(old)
    with pytest.raises(keys.KeyProblem, match="elsewhere put the new key in place"):
        place.open()
    assert "elsewhere put the new key in place" in place.diagnosis().problems[0]
    assert place.diagnosis().commands[1] == "put the newer keys/log in place, then promise-ledger recover"
    path.write_bytes(new)
    assert place.diagnosis().problems == ()


@pytest.mark.parametrize("step", ["replace_log_key", "destroy"])
def test_an_older_copy_comes_back_though_a_rotation_broke_off(
    place: Place, step: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both keys have signed, so the entries lead to the new one; and the copy knows of no rotation."""

    def crash(*_: object) -> None:
        raise Killed

    with copied(place.log.url, "ledger_broken_off") as url:
        with monkeypatch.context() as patched:
            patched.setattr(keys, step, crash)
            with pytest.raises(Killed):
                rotate(place)
        site = export(place, tmp_path / "site")
        restored = Place(place.log, place.settings.model_copy(update={"database_url": url}))
        if step == "replace_log_key":
            with pytest.raises(keys.KeyProblem, match="keys rotate-log` finishes it"):
                restored.entries(site)
            assert restored.ask("SELECT count(*) FROM ledger.events") == [(4,)]
            rotate(restored)
        restored.entries(site)
        restored.check_clean(6, Signer(place.settings.origin, keys.secrets_of(place.settings).log).vkey)
        if step == "destroy":
            rotate(restored)
        assert [path.name for path in place.settings.keys_dir.glob("log*")] == ["log"]


def test_a_guard_that_is_lost_while_a_rotation_is_interrupted_leaves_one_way(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "hand_over", crash)
        with pytest.raises(Killed):
            rotate(place)
    assert "the log's key was rotated at leaf 4: " in place.diagnosis().problems[0]
    assert place.diagnosis().commands[0] == "promise-ledger keys rotate-log"
    place.settings.guard_path.unlink()
    assert place.diagnosis().commands[0] == "promise-ledger keys rotate-log"
    with pytest.raises(keys.KeyProblem, match="keys rotate-log` finishes it"):
        place.guard()
    with pytest.raises(Fork, match=r"where it is lost, .* only `promise-ledger recover anew` is left"):
        rotate(place)
    place.check_clean(6, place.anew())
