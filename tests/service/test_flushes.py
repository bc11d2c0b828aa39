"""Every file that must outlive a crash, on a full disk: each flush of it fails in turn, then there is no room at all.

After each failure the same is done again: it succeeds, and nothing that was said before the failure is taken back.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from consumers.importing.errors import ImportProblem
from consumers.importing.progress import Progress, load_progress, save_progress
from consumers.importing.pseudonyms import import_key
from consumers.spool import Spool, SpoolProblem
from deploy import places
from deploy.exporting import export_tiles
from deploy.pack import verify_pack
from deploy.pack.publishing import export_pack
from deploy.pack.selecting import Wanted
from ledger.settings import Settings
from ledger.storage import keys
from tests.conftest import _copy, new_data_dir, remove
from tests.consumers.events import body, promise
from tests.service.full import FLUSHES, ROOT, Disk, Site, sites
from tests.service.witnesses import ORIGIN, request, witness_in
from tests.storage.log import Answer, Log, copy_directory, make, recorded, told
from tests.tlog.examples import checkpoint

Act = Callable[[], None]


def appending(place: Path, log: Log) -> Act:
    """Commands are answered; whatever was signed is never less than what was answered before."""
    answered: dict[int, Answer] = {}
    fresh = len(log.states())

    def act() -> None:
        log.close()
        ledger = log.open()
        (receipt,) = told(ledger, make(number := fresh + len(answered)))
        log.check_receipt(receipt)
        answered[number] = receipt
        for earlier, first in answered.items():
            (again,) = told(ledger, make(earlier))
            assert recorded(again) == recorded(first)

    return act


def beginning(place: Path, log: Log) -> Act:
    def act() -> None:
        secrets = keys.create(Settings(data_dir=place))
        assert len({secrets.log, secrets.kek, secrets.digest}) == 3

    return act


def rotating(place: Path, log: Log) -> Act:
    """The key that everything is wrapped under is there until it was replaced, and then until it is to be destroyed."""
    first = keys.create(Settings(data_dir=place))
    directory = first.directory

    replaced: list[bytes] = []

    def act() -> None:
        if not replaced:
            assert first.kek in (keys.find(directory, "kek"), keys.find(directory, "kek.old"))
            replaced.append(keys.replace_kek(first).kek)
            assert keys.find(directory, "kek.old") == first.kek
        keys.destroy_old_kek(directory)
        assert (keys.find(directory, "kek"), keys.find(directory, "kek.old")) == (replaced[0], None)

    return act


def another_log_key(place: Path, log: Log) -> Act:
    first = keys.create(Settings(data_dir=place))
    directory = first.directory

    def act() -> None:
        if keys.find(directory, "log") == first.log:
            keys.new_log_key(directory)
            keys.replace_log_key(directory, "log.archived")
        assert keys.find(directory, "log.archived") == first.log != keys.find(directory, "log")

    return act


def noting(place: Path, log: Log) -> Act:
    spool, numbers = Spool(place / "notes"), count(1)
    noted: list[bytes] = []

    def act() -> None:
        command = body(promise(promise_id=f"P-{next(numbers)}"))
        spool.append(command)
        noted.append(command)
        first, *rest = spool.contents().pending
        assert [first.body, *(each.body for each in rest)] == noted, "what was noted is there, and nothing else"
        spool.answered(first, b'{"status":"recorded"}')
        del noted[0]
        spool.append(command := body(promise(promise_id="P-again")))
        noted.append(command)
        spool.clear()

    return act


def importing(place: Path, log: Log) -> Act:
    path, rows = place / "progress", count(1)

    def act() -> None:
        save_progress(path, Progress("file", row := next(rows)))
        assert load_progress(path, "file").rows == row

    return act


def pseudonyms(place: Path, log: Log) -> Act:
    def act() -> None:
        assert import_key(place, None) == import_key(place, None)

    return act


def witnessing(place: Path, log: Log) -> Act:
    """Of two trees of one size only one is ever cosigned."""
    (state := place / "witness").mkdir()

    def act() -> None:
        witness, _ = witness_in(state)
        latest = witness.latest(ORIGIN)
        size = 0 if latest is None else latest.size
        assert latest in (None, checkpoint(size))
        assert witness.add_checkpoint(request(size, 7)).status == 200
        forked = witness.add_checkpoint(request(7, 7, root=b"r" * 32))
        assert (forked.status, witness.latest(ORIGIN)) == (422, checkpoint(7))

    return act


def making_a_cluster(place: Path, log: Log) -> Act:
    def act() -> None:
        if not (place / "postgres").exists():
            places.keep_cluster(place, places.new_cluster(place, None))
        assert (place / "postgres").is_dir()

    return act


def exporting(place: Path, log: Log) -> Act:
    def act() -> None:
        export_tiles(log.url, place / "site", lambda done, total: None)
        assert (place / "site/checkpoint").exists()

    return act


def packing(place: Path, log: Log) -> Act:
    def act() -> None:
        export_pack(log.url, log.secrets, place / "pack", Wanted("all", None, None, None))
        verify_pack.check(str(place / "pack"), log.vkey)

    return act


class Story(NamedTuple):
    begin: Callable[[Path, Log], Act]
    flushes: set[Site]
    anew: bool = True
    """Each failure finds what was never done before."""
    told_as: type[Exception] = OSError
    needs_room: bool = True


STORIES: dict[str, Story] = {
    "an append": Story(
        appending,
        {("ledger/storage/guard.py", "__init__"), ("ledger/storage/guard.py", "write")},
        anew=False,
        needs_room=False,
    ),
    "a new log's keys": Story(beginning, {("ledger/storage/keys.py", "_write_new")}),
    "another key-encryption key": Story(
        rotating,
        {("ledger/storage/keys.py", name) for name in ("_write_new", "replace_kek", "destroy")},
    ),
    "another log key": Story(
        another_log_key,
        {("ledger/storage/keys.py", name) for name in ("_write_new", "replace_log_key")},
    ),
    "a note": Story(
        noting, {("consumers/spool.py", "_write"), ("consumers/spool.py", "_sync_directory")}, told_as=SpoolProblem
    ),
    "an import's progress": Story(
        importing, {("consumers/importing/progress.py", "save_progress")}, told_as=ImportProblem
    ),
    "an import's key": Story(pseudonyms, {("consumers/importing/pseudonyms.py", "_create")}, told_as=ImportProblem),
    "a cosignature": Story(witnessing, {("deploy/witness.py", "_write")}),
    "a new cluster": Story(making_a_cluster, {("deploy/places.py", "keep_cluster")}, needs_room=False),
    "a site": Story(exporting, {("deploy/exporting.py", "_write")}),
    "a pack": Story(packing, {("deploy/pack/publishing.py", "_publish")}),
}
ELSEWHERE: dict[Site, str] = {
    ("ledger/recovery/steps.py", "finish"): "tests/storage/test_recovering.py kills it between its steps",
}


def test_no_durable_write_is_forgotten_here() -> None:
    assert {site for story in STORIES.values() for site in story.flushes} | ELSEWHERE.keys() == sites()


class Flushes:
    """Flushing works but for one time: the `failing`-th fails as on a full disk, and `at` says where that was."""

    def __init__(self, broken: pytest.MonkeyPatch, failing: int) -> None:
        self.failing, self.at = failing, None
        for name in ("fsync", "fdatasync"):
            broken.setattr(os, name, self.flush(getattr(os, name)))

    def flush(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def flushing(handle: int) -> None:
            self.failing -= 1
            if self.failing == 0:
                self.at = self.site()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        return flushing

    def site(self) -> Site:
        frame = sys._getframe(2)
        while frame.f_code.co_name in FLUSHES:
            assert frame.f_back is not None
            frame = frame.f_back
        return str(Path(frame.f_code.co_filename).relative_to(ROOT)), frame.f_code.co_name


@pytest.fixture(scope="module")
def log(postgres_url: str, _readable_template: str) -> Iterator[Log]:
    directory = new_data_dir()
    with _copy(postgres_url, _readable_template) as url:
        log = Log(url, directory)
        told(log.open(), make(0), make(1))
        log.close()
        yield log
        log.close()
    remove(directory)


@pytest.mark.parametrize("name", STORIES)
def test_each_flush_that_fails_in_turn_is_made_good_by_doing_the_same_again(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    story, found = STORIES[name], set[Site]()
    act = story.begin(tmp_path, log)
    for failing in count(1):
        if story.anew:
            (place := tmp_path / str(failing)).mkdir()
            act = story.begin(place, log)
        with monkeypatch.context() as broken:
            flushes = Flushes(broken, failing)
            with suppress(story.told_as):
                act()
                assert flushes.at is None, "a flush failed, and it was not said"
        act()
        if flushes.at is None:
            break
        found.add(flushes.at)
    assert found == story.flushes
    log.close()
    assert log.verify().problem is None


@pytest.mark.parametrize("name", STORIES)
def test_on_a_full_disk_it_is_said_and_made_good_once_there_is_room(log: Log, disk: Disk, name: str) -> None:
    story, before = STORIES[name], log.settings
    log.settings = before.model_copy(update={"data_dir": disk.path / "data"})
    copy_directory(before.data_dir, log.settings.data_dir)
    (place := disk.path / "place").mkdir()
    act = story.begin(place, log)
    disk.fill()
    if story.needs_room:
        with pytest.raises(story.told_as):
            act()
    else:
        act()
    disk.clear()
    act()
    log.close()
    assert log.verify().problem is None
    copy_directory(log.settings.data_dir, before.data_dir)
    log.settings = before
