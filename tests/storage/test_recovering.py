"""A guard or a part of a log was lost: the refusal, the diagnosis, the recovery, and what is signed afterwards."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from ledger.app import Fork
from ledger.recovery.copies import find_missing
from ledger.recovery.evidence import NotRecovered
from ledger.storage.guard import GuardDamaged, read_guard
from ledger.storage.sql import QUERIES
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Signer
from tests.storage.log import Answer, copied, make, submission, told
from tests.storage.place import Killed, Place, check_receipts, export, grow, kill, older

pytestmark = pytest.mark.usefixtures("signed")


def test_all_is_well_is_said_and_exit_code_0(place: Place):
    diagnosis = place.diagnosis()
    assert (diagnosis.problems, diagnosis.commands) == ((), ())
    assert diagnosis.found[:2] == (
        "the database holds 300 events of the log localhost/promise-ledger",
        "the fork guard covers 300 events",
    )
    with place.case() as case, pytest.raises(NotRecovered, match="nothing is to be recovered"):
        place.recovery(case).guard()
    with place.case() as case, pytest.raises(NotRecovered, match="no entries are missing"):
        place.recovery(case).entries(case.missing())


def test_all_is_well_while_a_service_appends_and_signs(place: Place, monkeypatch: pytest.MonkeyPatch):
    """One append where the stored checkpoints are read, one between the head and the count of the events."""
    ask = Connection.execute
    with place.open() as busy:

        def execute(connection: Connection, query: Any, *given: Any, **named: Any) -> Any:
            if query in awaited:
                told(busy, make(awaited.pop(query)))
                busy.flush()
            return ask(connection, query, *given, **named)

        awaited = {QUERIES["all_checkpoints"]: 2000, QUERIES["dense_size"]: 2001}
        monkeypatch.setattr(Connection, "execute", execute)
        assert place.diagnosis().problems == ()
    assert awaited == {}


def lose(guard: Path) -> None:
    guard.unlink()


def damage(guard: Path) -> None:
    guard.write_bytes(bytes(byte ^ 1 for byte in guard.read_bytes()))


def test_no_guard_that_was_put_aside_is_lost_with_the_next_one(place: Place):
    path = place.settings.guard_path
    for number in range(3):
        path.write_bytes(b"%d" % number)
        place.guard()
    found = [path.with_name(name).read_bytes() for name in ("guard.damaged", "guard.damaged.2", "guard.damaged.3")]
    assert found == [b"0", b"1", b"2"]
    place.check_clean(303)


@pytest.mark.parametrize(("harm", "words"), [(lose, "missing"), (damage, "damaged")])
def test_a_guard_that_is_gone_is_written_again_from_what_was_kept(
    place: Place, harm: Callable[[Path], None], words: str
):
    path = place.settings.guard_path
    harm(path)
    with pytest.raises((Fork, GuardDamaged), match=f"{words}.*promise-ledger recover"):
        place.open()
    diagnosis = place.diagnosis()
    assert diagnosis.problems == (f"the fork guard is {words}, and the database is whole",)
    assert diagnosis.commands == ('promise-ledger recover guard --grounds "WHY"',)
    place.guard()
    assert place.record() == {
        "kind": "guard",
        "grounds": "ticket 88",
        "kept_size": 300,
        "restored": 0,
        "texts_lost": 0,
        "signed_size": 300,
        "signed_root": place.record()["signed_root"],
    }
    assert place.diagnosis().problems == ()
    report = place.check_clean(301)
    assert report.recoveries == ("the fork guard was written again on 2026-03-01 (leaf 300; ticket 88)",)
    with place.open() as ledger:
        told(ledger, make(2000))
    place.check_clean(302)


def test_an_old_guard_file_put_back_is_no_way_to_sign_again(place: Place, tmp_path: Path):
    old = shutil.copy(place.settings.guard_path, tmp_path / "old")
    grow(place)
    shutil.copy(old, place.settings.guard_path)
    assert place.diagnosis().problems == ("the fork guard is older than what was signed, and the database is whole",)
    place.guard()
    place.check_clean(601)


def test_a_guard_is_not_written_over_a_database_that_is_behind_what_somebody_kept(place: Place, tmp_path: Path):
    with copied(place.log.url, "ledger_behind") as url:
        grow(place)
        kept = tmp_path / "kept"
        kept.write_bytes(read_guard(place.settings.guard_path) or b"")
        restored = older(place, url)
        restored.settings.guard_path.unlink()
        assert (
            restored.diagnosis(kept=[kept]).commands[-1]
            == 'promise-ledger recover anew --origin NAME --grounds "WHY" [SITE …]'
        )
        with pytest.raises(NotRecovered, match="covers 600 events and the database holds 300"):
            restored.guard(kept=[kept])
        note = kept.read_bytes()
        for damaged in (
            note.replace(b"\n", b"\r\n"),
            note.replace(b"\n600\n", b"\n200\n"),
            note[:-20],
            b"",
            bytes(9_000_000),
        ):
            kept.write_bytes(damaged)
            with pytest.raises(NotRecovered, match="is no signed checkpoint, or it was damaged"):
                restored.guard(kept=[kept])
        assert not restored.settings.guard_path.exists() or read_guard(restored.settings.guard_path) is None
        assert restored.ask("SELECT count(*) FROM ledger.events") == [(300,)]


def test_nobody_kept_anything_so_the_guard_is_not_believed(place: Place):
    place.settings.guard_path.unlink()
    place.harm("DELETE FROM ledger.checkpoints")
    with pytest.raises(NotRecovered, match="nobody kept a checkpoint"):
        place.guard()


def test_a_kept_checkpoint_of_other_events_is_not_overruled(place: Place, tmp_path: Path):
    forged = Checkpoint(place.settings.origin, 40, bytes(32))
    (tmp_path / "kept").write_bytes(forged.sign(Signer(place.settings.origin, place.log.secrets.log)))
    place.settings.guard_path.unlink()
    diagnosis = place.diagnosis(kept=[tmp_path / "kept"])
    assert "two services have signed with one key" in diagnosis.problems[0]
    with pytest.raises(NotRecovered, match="two services have signed with one key"):
        place.guard(kept=[tmp_path / "kept"])


def test_rewritten_events_are_taken_over_by_no_recovery(place: Place):
    place.harm("UPDATE ledger.events SET state = state || ' '::bytea WHERE notification_id = 7")
    for harm in (lambda: None, place.settings.guard_path.unlink):
        harm()
        diagnosis = place.diagnosis()
        assert "they were rewritten" in diagnosis.problems[0]
        for recover in (place.guard, place.entries, place.anew):
            with pytest.raises(NotRecovered, match="rewritten"):
                recover()


def check_brought_back(place: Place, restored: Place, receipts: Sequence[Answer], size: int = 600) -> None:
    """The tree is the one that was signed, and goes on; every old receipt and checkpoint holds."""
    report = restored.check_clean(size + 1)
    assert report.recoveries
    check_receipts(receipts, place.log.vkey)
    with restored.open() as ledger:
        answers = told(ledger, make(1000, customer_id="N-0"), make(3000, customer_id="N-0"), make(3001))
    assert answers[0]["events"][0]["leaf_index"] == 300, "a command sent again finds its row"
    restored.check_clean(size + 3)


def test_an_older_copy_gets_the_missing_entries_from_a_site(place: Place, tmp_path: Path):
    with copied(place.log.url, "ledger_older") as url:
        receipts = grow(place)
        site = export(place, tmp_path / "site")
        before = place.ask("SELECT * FROM ledger.events ORDER BY 1")
        inbox = place.ask("SELECT * FROM ledger.inbox ORDER BY 1, 2, 3")
        tiles = place.ask("SELECT * FROM ledger.tiles ORDER BY 1, 2")
        restored = older(place, url)
        restored.harm("UPDATE ledger.head SET mac = NULL")  # as releases before wrote it
        with pytest.raises(Fork, match=r"600 events was signed, and the database holds fewer.*promise-ledger recover"):
            restored.open()
        diagnosis = restored.diagnosis()
        assert "covers 600 events and the database holds 300" in diagnosis.problems[0]
        assert diagnosis.commands[1] == 'promise-ledger recover entries --grounds "WHY" [SITE …]'
        restored.entries(site)
        assert restored.ask("SELECT * FROM ledger.events WHERE notification_id <= 600 ORDER BY 1") == before
        assert restored.ask("SELECT * FROM ledger.inbox WHERE leaf_index < 600 ORDER BY 1, 2, 3") == inbox
        assert restored.ask("SELECT * FROM ledger.tiles ORDER BY 1, 2") == tiles
        record = restored.record()
        assert (record["kept_size"], record["restored"], record["texts_lost"]) == (300, 300, 290)
        check_brought_back(place, restored, receipts)
        for leaf in (601, 5):
            restored.harm(f"DELETE FROM ledger.sealed WHERE leaf_index = {leaf}")
            problem = restored.verify().problem
            assert problem is not None, "of the leaves on record alone a text may be missing"
            assert (problem.table, problem.leaf_index) == ("sealed", leaf)


def test_a_tail_cut_off_by_hand_comes_back_with_the_words_that_are_still_there(place: Place, tmp_path: Path):
    receipts = grow(place)
    site = export(place, tmp_path / "site")
    place.harm("DELETE FROM ledger.events WHERE notification_id > 299 AND notification_id <> 450")
    with pytest.raises(Fork, match="some were removed by hand"):
        place.open()
    assert "covers 600 events and the database holds 299" in place.diagnosis().problems[0]
    place.entries(site)
    record = place.record()
    assert (record["kept_size"], record["restored"], record["texts_lost"]) == (299, 301, 0)
    check_brought_back(place, place, receipts)


def test_a_log_of_which_nothing_is_left_comes_back_from_a_site(place: Place, database_b: str, tmp_path: Path):
    receipts = grow(place)
    site = export(place, tmp_path / "site")
    restored = older(place, database_b)
    with pytest.raises(Exception, match="promise-ledger recover"):
        restored.open()
    assert "the head of the log is gone" in restored.diagnosis().found[0]
    restored.entries(site)
    assert restored.record()["texts_lost"] == 590
    check_brought_back(place, restored, receipts)


def test_copies_that_are_not_what_was_signed_are_refused_before_anything_is_written(place: Place, tmp_path: Path):
    with copied(place.log.url, "ledger_refused") as url:
        lagging = export(place, tmp_path / "lagging")
        grow(place)
        site = export(place, tmp_path / "site")
        bundle = site / "tile/entries/001"
        content = bytearray(bundle.read_bytes())
        content[-100] ^= 1
        bundle.write_bytes(content)
        restored = older(place, url)
        before = restored.ask("SELECT * FROM ledger.head")
        with pytest.raises(NotRecovered, match="another log's, or damaged"):
            restored.entries(site)
        with pytest.raises(NotRecovered, match=r"lead to 300 of the 600 events .* from leaf 300 on"):
            restored.entries(lagging)
        with pytest.raises(NotRecovered, match="is no site of a log"):
            restored.entries(tmp_path)
        restored.settings.guard_path.unlink()
        signed = site / "checkpoint"
        signed.write_bytes(signed.read_bytes().replace(b"\n600\n", b"\n500\n"))
        for recover in (restored.entries, restored.anew):
            with pytest.raises(NotRecovered, match="is no signed checkpoint, or it was damaged"):
                recover(site)  # nothing else shows any more that 600 were signed
        assert restored.ask("SELECT * FROM ledger.head") == before
        assert restored.ask("SELECT count(*) FROM ledger.events") == [(300,)]


def test_erasures_among_the_missing_entries_hold_also_for_customers_whose_key_is_gone(place: Place, tmp_path: Path):
    with copied(place.log.url, "ledger_erased") as url:
        grow(place)
        with place.open() as ledger:
            for customer_id in ("C-1", "N-1"):
                told(ledger, submission("subject.erase", f"e-{customer_id}", customer_id=customer_id, grounds="art-17"))
        site = export(place, tmp_path / "site")
        restored = older(place, url)
        restored.entries(site)
        report = restored.verify()
        assert report.problem is None, "C-1's key is still there, as long as the eraser has not run"
        with restored.open() as ledger:
            answers = told(
                ledger,
                make(4001, customer_id="N-1"),
                make(4002, customer_id="N-2"),
                submission("subject.erase", "e-N-3", customer_id="N-3", grounds="art-17"),
            )
        assert answers[0]["code"] == "customer-erased"
        assert [answer["status"] for answer in answers[1:]] == ["recorded", "recorded"], "N-3 is known by its events"


class Changing:
    """Copies that are others when they are read for the second time."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self._entries = entries
        self._times = 0

    def read(self, first: int, stop: int) -> Sequence[bytes]:
        self._times += 1
        return [entry + b" " * (self._times > 1) for entry in self._entries[first:stop]]


def test_what_is_written_is_what_was_checked(place: Place):
    with copied(place.log.url, "ledger_changing") as url:
        with place.open() as ledger:
            told(ledger, make(900))
        restored = older(place, url)
        with restored.case() as case, pytest.raises(NotRecovered, match="the copy of leaf 300 changed"):
            restored.recovery(case).entries(find_missing(case.found, [Changing(place.log.states())]))
        assert restored.ask("SELECT count(*) FROM ledger.events") == [(300,)]


@pytest.mark.parametrize("at", ["commit", "guard", "answer"])
def test_killed_between_the_steps_of_a_guards_recovery_the_same_again_goes_on(
    place: Place, at: str, monkeypatch: pytest.MonkeyPatch
):
    place.settings.guard_path.unlink()
    with monkeypatch.context() as broken:
        kill(broken, at)
        with pytest.raises(Killed):
            place.guard()
    if place.diagnosis().problems:
        place.guard()
    place.open().close()
    size = place.ask("SELECT count(*) FROM ledger.events")[0][0]
    assert size in (301, 302)
    place.check_clean(size)


@pytest.mark.parametrize("at", ["commit", "answer"])
def test_killed_between_the_steps_of_bringing_back_the_next_start_goes_on(
    place: Place, at: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with copied(place.log.url, "ledger_killed") as url:
        receipts = grow(place)
        site = export(place, tmp_path / "site")
        restored = older(place, url)
        with monkeypatch.context() as broken:
            kill(broken, at)
            with pytest.raises(Killed):
                restored.entries(site)
        if restored.diagnosis().problems:
            restored.entries(site)
        restored.open().close()
        check_brought_back(place, restored, receipts)


def test_a_service_that_is_at_work_keeps_a_recovery_away(place: Place):
    place.settings.guard_path.unlink()
    place.harm("INSERT INTO service.heartbeat VALUES ('intake', now(), '{}')")
    with pytest.raises(NotRecovered, match="intake was at work 0 s ago: stop"):
        place.guard()


def test_an_append_meanwhile_keeps_a_recovery_away(place: Place, tmp_path: Path):
    with copied(place.log.url, "ledger_meanwhile") as url:
        grow(place)
        site = export(place, tmp_path / "site")
        restored = older(place, url)
        with restored.case(site) as case:
            missing = case.missing()
            restored.harm("UPDATE ledger.head SET size = 0, frontier = ''")
            with pytest.raises(NotRecovered, match="somebody appends meanwhile"):
                restored.recovery(case).entries(missing)
