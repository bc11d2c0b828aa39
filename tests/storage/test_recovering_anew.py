"""A log that ended goes on under another name and key: with what there is, and never twice."""

from datetime import timedelta
from pathlib import Path

import pytest

from deploy import recovering
from ledger.app import Fork
from ledger.log_rotation import rotate_log_key
from ledger.recovery.diagnosis import diagnose
from ledger.recovery.evidence import NotRecovered
from ledger.storage import keys
from ledger.storage.guard import ForkGuard, read_guard
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Signer
from tests.storage.log import Log, copied, copy_directory, make, told
from tests.storage.place import Killed, Place, check_receipts, export, grow, kill, older

pytestmark = pytest.mark.usefixtures("signed")


def test_rows_of_cut_off_events_are_never_taken_for_those_of_new_ones(place: Place, tmp_path: Path):
    site = export(place, tmp_path / "site")
    grow(place)
    place.harm("DELETE FROM ledger.events WHERE notification_id > 300")
    with pytest.raises(NotRecovered, match="from leaf 300 on, 300 commands, 290 texts and 1 tiles are left"):
        place.anew(site)
    tables = {"inbox": "leaf_index >= 300", "sealed": "leaf_index >= 300", "tiles": "index = 1 AND level = 0"}
    place.harm(*(f"DELETE FROM ledger.{table} WHERE {rows}" for table, rows in tables.items()))
    vkey = place.anew(site)
    with place.open() as ledger:
        (again,) = told(ledger, make(1000, customer_id="N-0"))
    assert again["events"][0]["leaf_index"] == 301, "a command that was lost is recorded afresh"
    place.check_clean(302, vkey)


def test_a_log_of_which_nothing_is_left_anywhere_goes_on_as_an_empty_one(place: Place, database_b: str):
    restored = older(place, database_b)
    with restored.case() as case:
        assert diagnose(case.found).commands[-1] == 'promise-ledger recover anew --origin NAME --grounds "WHY" [SITE …]'
        vkey = restored.recovery(case).anew("example/again", case.missing(strict=False))
        assert recovering.rebuild_ahead(case) == [], "no read table exists yet"
    assert (restored.record()["kept_size"], restored.record()["signed_size"]) == (0, 300)
    restored.check_clean(1, vkey)


@pytest.mark.parametrize("at", [None, "commit", "begin", "key", "rename"])
def test_what_nobody_has_ends_the_log_and_another_goes_on(
    place: Place, at: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with copied(place.log.url, "ledger_anew") as url:
        receipts = grow(place)
        first = place.ask("SELECT note FROM ledger.checkpoints ORDER BY size LIMIT 1")[0][0].encode()
        last = read_guard(place.settings.guard_path) or b""
        restored = older(place, url)
        left = f"INSERT INTO ledger.checkpoints VALUES (600, '{last.decode()}', now())"
        restored.harm(left)  # a table that whoever cut the tail off forgot
        if at is not None:
            with monkeypatch.context() as broken:
                kill(broken, at)
                with pytest.raises(Killed):
                    restored.anew()
            if at != "rename":
                with pytest.raises(Fork, match="promise-ledger recover"):
                    restored.open()
                assert restored.diagnosis().commands[-1].startswith("promise-ledger recover anew --origin ")
                if at != "commit":  # the new key may have signed under the name that is on record
                    for recover in (lambda: restored.anew(origin="example/other"), restored.entries, restored.guard):
                        with pytest.raises(NotRecovered, match="as example/again began: finish that first"):
                            recover()
        vkey = restored.anew()
        record = restored.record()
        assert (record["kept_size"], record["restored"], record["signed_size"]) == (300, 0, 600)
        assert (record["old_origin"], record["old_vkey"]) == (place.settings.origin, place.log.vkey)
        assert vkey == _vkey(restored)
        assert restored.anew() == vkey, "what came behind the last step is done again, until somebody appends"
        report = restored.check_clean(301, vkey)
        assert "the log localhost/promise-ledger ended" in report.recoveries[0]
        assert restored.diagnosis().problems == ()
        with restored.open() as ledger:
            told(ledger, make(1000, customer_id="N-0"))
        restored.check_clean(302, vkey)
        published = Note.parse((export(restored, tmp_path / "site") / "checkpoint").read_bytes())
        assert Checkpoint.parse(published.text).origin == "example/again"
        check_receipts(receipts, place.log.vkey)
        assert restored.verify(vkey, kept=[first]).problem is None, "an old checkpoint is a prefix of the new tree"
        lost = restored.verify(vkey, kept=[last]).problem
        assert lost is not None
        assert "300 of them go on here, the others are lost" in lost.message
        ended = restored.verify(place.log.vkey).problem
        assert ended is not None
        assert "its first 300 events go on in the log example/again" in ended.message
        old = Signer(place.settings.origin, (place.settings.keys_dir / f"log.{_key_id(place.log.vkey)}").read_bytes())
        assert old.vkey == place.log.vkey
        assert read_guard(place.settings.guard_path.with_name(f"guard.{_key_id(place.log.vkey)}")) == last


def _vkey(place: Place) -> str:
    return Signer("example/again", keys.secrets_of(place.settings).log).vkey


def _key_id(vkey: str) -> str:
    return vkey.split("+")[1]


def test_what_a_lagging_site_has_goes_on_in_the_other_log(place: Place, tmp_path: Path):
    with copied(place.log.url, "ledger_lagging") as url:
        with place.open() as ledger:
            told(ledger, make(900))
        site = export(place, tmp_path / "site")
        grow(place)
        restored = older(place, url)
        vkey = restored.anew(site)
        record = restored.record()
        assert (record["kept_size"], record["restored"], record["texts_lost"]) == (300, 1, 1)
        restored.check_clean(302, vkey)


def test_no_name_is_used_twice(place: Place):
    with copied(place.log.url, "ledger_of_the_first_name") as url:
        vkey = place.anew()
        place.log.now += timedelta(seconds=1)
        with place.open() as ledger:
            told(ledger, make(900))
        for origin in (place.settings.origin, "example/again"):
            for present in (place, older(place, url)):
                with pytest.raises(NotRecovered, match="another name"):
                    present.anew(origin=origin)
    place.check_clean(302, vkey)


def test_a_copy_from_before_a_log_went_on_anew_comes_back_under_its_present_name(log: Log, tmp_path: Path):
    place = Place(log, log.settings)
    with place.open() as ledger:
        told(ledger, make(1), make(2))
    log._opened.clear()
    with copied(log.url, "ledger_of_before_anew") as url:
        vkey = place.anew()
        with place.open() as ledger:
            receipts = told(ledger, make(3))
        restored = older(place, url)
        restored.entries(export(place, tmp_path / "site"))
        assert restored.ask("SELECT origin FROM ledger.head") == [("example/again",)]
        restored.check_clean(5, vkey)
        with restored.open() as ledger:
            told(ledger, make(4))
        restored.check_clean(6, vkey)
        check_receipts(receipts, vkey)


def test_a_guard_from_before_a_log_went_on_anew_is_replaced_as_recover_says(log: Log):
    place = Place(log, log.settings)
    with place.open() as ledger:
        told(ledger, make(1))
    log._opened.clear()
    ended = place.settings.guard_path.read_bytes()
    vkey = place.anew()
    place.settings.guard_path.write_bytes(ended)
    with pytest.raises(Fork, match="the fork guard is of another log"):
        place.open()
    assert place.diagnosis().commands == ('promise-ledger recover guard --grounds "WHY"',)
    place.guard()
    place.check_clean(3, vkey)


def test_a_service_that_was_not_seen_at_work_signs_nothing_more_under_the_name_that_ended(place: Place, tmp_path: Path):
    copy_directory(place.settings.data_dir, tmp_path)
    elsewhere = Place(place.log, place.settings.model_copy(update={"data_dir": tmp_path}))
    with elsewhere.open() as frozen:
        told(frozen, make(900))
        signed = read_guard(elsewhere.settings.guard_path)
        assert signed is not None
        place.settings.guard_path.write_bytes(elsewhere.settings.guard_path.read_bytes())
        vkey = place.anew()
        for _ in range(2):
            with pytest.raises(Fork, match="the log localhost/promise-ledger has ended and goes on as example/again"):
                frozen.submit([make(901)])
        assert read_guard(elsewhere.settings.guard_path) == signed
    with place.open() as ledger:
        told(ledger, make(901))
    place.check_clean(303, vkey)


def test_keys_and_a_guard_from_before_a_log_went_on_anew_are_not_taken_for_those_in_use(place: Place, tmp_path: Path):
    copy_directory(place.settings.data_dir, tmp_path / "before")
    vkey = place.anew()
    old = Place(place.log, place.settings.model_copy(update={"data_dir": tmp_path / "before"}))
    with pytest.raises(Fork, match="promise-ledger recover"):
        old.open()
    assert old.diagnosis().problems == (
        "the database says that the log localhost/promise-ledger has ended and goes on as example/again; keys/log and "
        "the fork guard here are from before that",
    )
    assert old.diagnosis().commands[0].startswith("put the newer keys/log and its fork guard in place")
    for recover in (old.guard, old.entries):
        with pytest.raises(NotRecovered, match=r"goes on as example/again.*: put the newer ones in place"):
            recover()
    assert place.diagnosis().problems == ()
    place.check_clean(301, vkey)


@pytest.mark.parametrize("at", ["begin", "key"])
def test_an_eraser_that_was_not_seen_at_work_signs_nothing_more_under_the_name_that_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch, at: str
):
    with place.open() as frozen:
        told(frozen, make(900))
        path = place.settings.guard_path
        signed = path.read_bytes()
        with monkeypatch.context() as broken:
            kill(broken, at)
            with pytest.raises(Killed):
                place.anew()
        assert path.read_bytes() == signed
        with pytest.raises(Fork, match="has ended and goes on as example/again"):
            frozen.start()
        assert path.read_bytes() == signed
    place.check_clean(302, place.anew())


def test_a_service_that_tries_to_start_between_two_guards_destroys_neither(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    """It makes an empty file where the guard is missing."""
    path, replace = place.settings.guard_path, Path.replace
    signed = read_guard(path)

    def die(self: Path, target: Path) -> Path:
        if target == path:
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", die)
        with pytest.raises(Killed):
            place.anew()
    with pytest.raises(Fork, match="the fork guard is missing"):
        place.open()
    vkey = place.anew()
    assert read_guard(path.with_name(f"guard.{_key_id(place.log.vkey)}")) == signed
    place.check_clean(301, vkey)


def test_a_guard_of_another_log_puts_no_false_name_on_record(place: Place):
    own = read_guard(place.settings.guard_path)
    place.settings.guard_path.unlink()
    other = ForkGuard(place.settings.guard_path)
    other.write(Checkpoint("other.example/log", 2, bytes(32)).sign(Signer("other.example/log", b"o" * 32)))
    other.close()
    for recover in (place.guard, place.anew):
        with pytest.raises(NotRecovered, match=r"is of the log other\.example/log and of another key than keys/log"):
            recover()
    assert place.ask("SELECT count(*) FROM ledger.events") == [(300,)]
    assert not (place.settings.keys_dir / "log.new").exists()
    place.settings.guard_path.rename(place.settings.guard_path.with_name("guard.other"))
    place.anew()
    assert own is not None
    assert place.record()["old_origin"] == place.settings.origin == Checkpoint.parse(Note.parse(own).text).origin
    assert place.record()["old_vkey"] == place.log.vkey


def test_a_log_that_goes_on_without_its_rotation_holds_checkpoints_of_a_key_that_nothing_names(log: Log):
    place = Place(log, log.settings)
    with place.open() as ledger:
        told(ledger, make(1), make(2))
    log._opened.clear()
    early = log.guard_note() or b""
    with copied(log.url, "ledger_without_rotation") as url:
        rotate_log_key(log.settings, lambda: log.now)
        restored = older(place, url)
        vkey = restored.anew()
        assert restored.check_clean(3, vkey).checkpoints == 3
        assert restored.verify(vkey, kept=[early]).problem is None, "what an auditor kept holds as what is stored"
        for name, size, words in [
            (log.settings.origin, 1, "are not those that a kept checkpoint was"),
            (log.settings.origin, 9, "the others are lost"),
            ("stranger.example", 2, "signed by this log"),
        ]:
            problem = restored.verify(
                vkey, kept=[Checkpoint(name, size, bytes(32)).sign(Signer(name, bytes(32)))]
            ).problem
            assert problem is not None
            assert words in problem.message
        row = "INSERT INTO ledger.checkpoints VALUES (1, '{}', now())"
        for name, words in [
            (log.settings.origin, "are not those that checkpoint 1 was"),
            ("example/again", "signed by this log"),
        ]:
            forged = Checkpoint(name, 1, bytes(32)).sign(Signer(name, bytes(32))).decode()
            restored.harm("DELETE FROM ledger.checkpoints WHERE size = 1", row.format(forged))
            problem = restored.verify(vkey).problem
            assert problem is not None
            assert words in problem.message


def test_a_log_that_goes_on_signs_the_sizes_that_the_one_before_has_lost(log: Log, tmp_path: Path):
    place = Place(log, log.settings)
    for number in range(6):
        log.now += timedelta(seconds=5)
        with place.open() as ledger:
            told(ledger, make(number))
        if number == 2:
            site = export(place, tmp_path / "site")
    log._opened.clear()
    place.harm(*(f"DELETE FROM ledger.{table} WHERE leaf_index >= 2" for table in ("inbox", "sealed")))
    place.harm("DELETE FROM ledger.events WHERE notification_id > 2")
    vkey = place.anew(site)
    with place.open() as ledger:
        told(ledger, make(77))
    place.check_clean(5, vkey)
    signed = place.ask("SELECT size, split_part(note, E'\\n', 1) FROM ledger.checkpoints WHERE size > 3 ORDER BY 1, 2")
    ended = place.settings.origin
    assert signed == [(4, "example/again"), (4, ended), (5, "example/again"), (5, ended), (6, ended)]
    assert export(place, tmp_path / "again").joinpath("checkpoint").read_bytes().startswith(b"example/again\n5\n")
