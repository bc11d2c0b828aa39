"""Every way to lose a part of a log: the refusal, the diagnosis, the recovery, and what is signed afterwards."""

import base64
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from deploy import recovering
from deploy.exporting import export_tiles
from ledger.app import Fork, Ledger
from ledger.log_rotation import rotate_log_key
from ledger.recovery.copies import find_missing
from ledger.recovery.diagnosis import Diagnosis, diagnose
from ledger.recovery.evidence import NotRecovered
from ledger.recovery.steps import Recovery
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import ForkGuard, GuardDamaged, read_guard
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.verification.log import verify
from ledger.verification.report import Report
from tests.storage.log import Answer, Log, claim, copied, make, submission, tell, told


class Place:
    """One database with the keys and the guard of `log`: the log itself, or what was restored in its stead."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self.log = log
        self.settings = settings

    def open(self) -> Ledger:
        return Ledger.open(self.settings, clock=lambda: self.log.now)

    def ask(self, query: str) -> list[Any]:
        assert self.settings.database_url is not None
        with psycopg.connect(self.settings.database_url) as connection:
            return connection.execute(query.encode()).fetchall()

    def harm(self, *statements: str) -> None:
        """As a superuser who takes the triggers away."""
        assert self.settings.database_url is not None
        with psycopg.connect(self.settings.database_url) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement.encode())

    @contextmanager
    def case(self, *sites: Path, kept: Sequence[Path] = ()) -> Iterator[recovering.Case]:
        with recovering.opened_case(self.settings, kept=list(map(str, kept)), sites=list(map(str, sites))) as case:
            yield case

    def diagnosis(self, *, kept: Sequence[Path] = ()) -> Diagnosis:
        with self.case(kept=kept) as case:
            return diagnose(case.found)

    def recovery(self, case: recovering.Case) -> Recovery:
        return case.recovery("ticket 88", lambda: self.log.now)

    def guard(self, *, kept: Sequence[Path] = ()) -> None:
        with self.case(kept=kept) as case:
            self.recovery(case).guard()

    def entries(self, *sites: Path) -> None:
        with self.case(*sites) as case:
            self.recovery(case).entries(case.missing())

    def anew(self, *sites: Path, origin: str = "example/again") -> str:
        with self.case(*sites) as case:
            return self.recovery(case).anew(origin, case.missing(strict=False))

    def verify(self, vkey: str | None = None, **changed: Any) -> Report:
        assert self.settings.database_url is not None
        arguments = {
            "vkey": vkey or self.log.vkey,
            "guard": lambda: read_guard(self.settings.guard_path),
            "key_encryption_key": self.log.secrets.kek,
            "digest_key": self.log.secrets.digest,
            "rules": True,
        }
        return verify(self.settings.database_url, **arguments | changed)

    def check_clean(self, size: int, vkey: str | None = None) -> Report:
        report = self.verify(vkey)
        assert report.problem is None, report.problem
        assert (report.size, report.signed_size) == (size, size)
        return report

    def record(self) -> dict[str, Any]:
        """What the last event of the log says, which is the recovery."""
        ((state,),) = self.ask("SELECT state FROM ledger.events ORDER BY notification_id DESC LIMIT 1")
        entry = orjson.loads(state)
        assert entry["type"] == "log.recovered"
        data: dict[str, Any] = entry["data"]
        return data


class Signatures:
    """Every note that anything signed in this test, by origin; two roots of one size would be a fork."""

    def __init__(self) -> None:
        self.notes: list[bytes] = []

    def check(self) -> None:
        roots: dict[tuple[str, int], bytes] = {}
        for note in self.notes:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
            known = roots.setdefault((checkpoint.origin, checkpoint.size), checkpoint.root)
            assert known == checkpoint.root, f"two trees of {checkpoint.size} were signed"


@pytest.fixture(autouse=True)
def signed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Signatures]:
    """What was signed is looked at after every test."""
    signatures, sign = Signatures(), Signer.sign

    def noted(signer: Signer, text: str) -> bytes:
        note = sign(signer, text)
        signatures.notes.append(note)
        return note

    monkeypatch.setattr(Signer, "sign", noted)
    yield signatures
    signatures.check()


@pytest.fixture
def place(log: Log) -> Place:
    """A log with 300 events under two checkpoints."""
    with log.open() as ledger:
        log._opened.clear()
        told(ledger, *(make(number) for number in range(250)), *(tell(number) for number in range(25)))
    return Place(log, log.settings)


def older(place: Place, url: str) -> Place:
    """The same keys and the same guard beside another database."""
    return Place(place.log, place.settings.model_copy(update={"database_url": url}))


def grow(place: Place) -> list[Answer]:
    """300 more events, some of customers who come for the first time."""
    with place.open() as ledger:
        receipts = told(ledger, *(make(number, customer_id=f"N-{number % 5}") for number in range(1000, 1290)))
        receipts += told(ledger, *(claim(number) for number in range(10)))
    return receipts


def export(place: Place, directory: Path) -> Path:
    assert place.settings.database_url is not None
    export_tiles(place.settings.database_url, directory, lambda done, total: None)
    return directory


def check_receipts(receipts: Sequence[Answer], vkey: str) -> None:
    """Each still proves its event under the checkpoint that it came with."""
    assert receipts
    for receipt in receipts:
        for event in receipt["events"]:
            proof = ProofFile.parse(event.get("proof", receipt["proof"]))
            proof.verify(base64.b64decode(event["leaf_hash"]), Verifier.parse(vkey))


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


def lose(guard: Path) -> None:
    guard.unlink()


def damage(guard: Path) -> None:
    guard.write_bytes(bytes(byte ^ 1 for byte in guard.read_bytes()))


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


def test_a_log_of_which_nothing_is_left_anywhere_goes_on_as_an_empty_one(place: Place, database_b: str):
    restored = older(place, database_b)
    with restored.case() as case:
        assert diagnose(case.found).commands[-1] == 'promise-ledger recover anew --origin NAME --grounds "WHY" [SITE …]'
        vkey = restored.recovery(case).anew("example/again", case.missing(strict=False))
        assert recovering.rebuild_ahead(case, 0) == [], "no read table exists yet"
    assert (restored.record()["kept_size"], restored.record()["signed_size"]) == (0, 300)
    restored.check_clean(1, vkey)


@pytest.fixture
def database_b(postgres_url: str, _template: str) -> Iterator[str]:
    """A second empty, migrated database."""
    from tests.conftest import _copy

    with _copy(postgres_url, _template) as url:
        yield url


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


class Killed(Exception):
    """The process ended here."""


@pytest.mark.parametrize("at", ["commit", "guard", "answer"])
def test_killed_between_the_steps_of_a_guards_recovery_the_same_again_goes_on(
    place: Place, at: str, monkeypatch: pytest.MonkeyPatch
):
    place.settings.guard_path.unlink()
    with monkeypatch.context() as broken:
        _kill(broken, at)
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
            _kill(broken, at)
            with pytest.raises(Killed):
                restored.entries(site)
        if restored.diagnosis().problems:
            restored.entries(site)
        restored.open().close()
        check_brought_back(place, restored, receipts)


def _kill(broken: pytest.MonkeyPatch, at: str) -> None:
    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    match at:
        case "commit":
            broken.setattr("ledger.storage.recorder.Append.write", die)
        case "guard":
            broken.setattr(ForkGuard, "write", die)
        case "answer":
            broken.setattr(Ledger, "answer", die)
        case "begin":
            broken.setattr(Ledger, "begin", die)
        case "key":
            broken.setattr(keys, "replace_log_key", die)
        case "rename":
            broken.setattr("ledger.recovery.steps.flush_directory", die)


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
                _kill(broken, at)
                with pytest.raises(Killed):
                    restored.anew()
            if at != "rename":
                with pytest.raises(Fork, match="promise-ledger recover"):
                    restored.open()
                assert restored.diagnosis().commands[-1].startswith("promise-ledger recover anew --origin ")
        vkey = restored.anew() if at != "rename" else _vkey(restored)
        record = restored.record()
        assert (record["kept_size"], record["restored"], record["signed_size"]) == (300, 0, 600)
        assert (record["old_origin"], record["old_vkey"]) == (place.settings.origin, place.log.vkey)
        assert vkey.startswith("example/again+")
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


def test_a_log_that_goes_on_without_its_rotation_holds_checkpoints_of_a_key_that_nothing_names(log: Log):
    place = Place(log, log.settings)
    with place.open() as ledger:
        told(ledger, make(1), make(2))
    log._opened.clear()
    with copied(log.url, "ledger_without_rotation") as url:
        rotate_log_key(log.settings, lambda: log.now)
        restored = older(place, url)
        vkey = restored.anew()
        assert restored.check_clean(3, vkey).checkpoints == 3
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


def test_a_service_signs_on_over_the_tables_of_the_release_before(log: Log):
    """Whoever starts the new services before `migrate` was run waits for nothing."""
    place = Place(log, log.settings)
    place.harm("DROP INDEX ledger.checkpoints_of_a_log", "ALTER TABLE ledger.checkpoints ADD PRIMARY KEY (size)")
    with place.open() as ledger:
        told(ledger, make(1))
    log._opened.clear()
    assert place.ask("SELECT size FROM ledger.checkpoints ORDER BY 1") == [(0,), (1,)]
