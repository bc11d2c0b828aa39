"""The notepad on disk: what was noted is there after a power loss, and one bad line harms no other."""

import fcntl
import os
import stat
import threading
from pathlib import Path

import orjson
import pytest

from consumers.cloudevents import Malformed
from consumers.spool import Noted, Spool, SpoolProblem
from tests.consumers.events import body, promise

FIRST, SECOND, THIRD = (body(promise(promise_id=f"P-{n}", text=f"Words {n} of Anna."), id=f"c-{n}") for n in (1, 2, 3))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "pad" / "notes.jsonl")


def bodies(spool: Spool) -> list[bytes]:
    return [noted.body for noted in spool.contents().pending]


def filled(spool: Spool) -> tuple[Noted, ...]:
    for each in (FIRST, SECOND, THIRD):
        spool.append(each)
    return spool.contents().pending


def everything(spool: Spool) -> bytes:
    return b"".join(path.read_bytes() for path in spool.path.parent.iterdir())


def test_what_was_noted_comes_back_in_order_byte_for_byte(spool: Spool) -> None:
    assert spool.contents().pending == ()
    filled(spool)
    assert bodies(Spool(spool.path)) == [FIRST, SECOND, THIRD]
    assert [orjson.loads(line)["command"]["id"] for line in spool.path.read_bytes().splitlines()] == [
        "c-1",
        "c-2",
        "c-3",
    ]


def test_nobody_else_reads_the_notepad(spool: Spool) -> None:
    spool.path.parent.mkdir()
    spool.path.touch(mode=0o644)
    noted = filled(spool)
    spool.answered(noted[0], b'{"status":"refused"}', aside="no")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in spool.path.parent.iterdir()}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


def test_an_answered_command_is_not_sent_again_and_its_words_are_gone_after_clearing(spool: Spool) -> None:
    noted = filled(spool)
    spool.answered(noted[0], b'{"status":"recorded"}')
    assert bodies(Spool(spool.path)) == [SECOND, THIRD]
    assert b"Words 1" in everything(spool)
    spool.clear()
    assert bodies(spool) == [SECOND, THIRD]
    assert b"Words 1" not in everything(spool)
    for each in noted[1:]:
        spool.answered(each, b'{"status":"recorded"}')
    spool.clear()
    assert not spool.path.exists()
    assert b"Words" not in everything(spool)
    assert spool.answers_path.read_bytes().count(b'"status":"recorded"') == 3


def test_what_is_noted_again_after_it_was_cleared_is_sent_again(spool: Spool) -> None:
    """The ledger may have lost it since, and ask for it."""
    noted = filled(spool)
    spool.answered(noted[0], b'{"status":"recorded"}')
    spool.append(FIRST)  # its answer counts while it stands in the file
    assert bodies(spool) == [SECOND, THIRD]
    spool.clear()
    spool.append(FIRST)
    assert bodies(spool) == [SECOND, THIRD, FIRST]
    for each in spool.contents().pending:
        spool.answered(each, b'{"status":"recorded"}')
    spool.clear()
    spool.answered(noted[1], b'{"status":"recorded"}')  # by somebody who delivered at the same time
    spool.clear()
    spool.append(SECOND)
    assert bodies(spool) == [SECOND]


def test_power_loss_at_any_byte_loses_at_most_the_unfinished_line_and_says_so(spool: Spool) -> None:
    filled(spool)
    whole = spool.path.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in range(second, len(whole)):
        spool.path.write_bytes(whole[:cut])
        found = spool.contents()
        complete = whole[: cut + 1].count(b"\n")  # a line that lacks only its newline is whole
        assert [noted.body for noted in found.pending] == [FIRST, SECOND, THIRD][:complete]
        unfinished = cut not in (second, whole.index(b"\n", second), whole.index(b"\n", second) + 1, len(whole) - 1)
        assert [damaged.sentence for damaged in found.damaged] == (
            [f"line {complete + 1} was not finished when power or process ended: it is lost, and kept aside"]
            if unfinished
            else []
        )


@pytest.mark.parametrize("end", [b'{"sha256":"00', b"\0" * 512, b'{"sha256":"'])
def test_the_next_line_is_not_swallowed_by_an_unfinished_one(spool: Spool, end: bytes) -> None:
    spool.append(FIRST)
    with spool.path.open("ab") as file:
        file.write(end)
    spool.append(SECOND)
    assert bodies(spool) == [FIRST, SECOND]
    assert ["not finished" in each.sentence for each in spool.contents().damaged] == [True]


def test_every_changed_byte_is_noticed_and_the_other_lines_go_on(spool: Spool) -> None:
    filled(spool)
    whole = spool.path.read_bytes()
    second = whole.index(b"\n") + 1
    for place in range(second, whole.index(b"\n", second)):
        spool.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = spool.contents()
        assert [noted.body for noted in found.pending] == [FIRST, THIRD], place
        assert found.damaged[0].number == 2


def test_a_damaged_line_is_kept_aside_once_for_a_human(spool: Spool) -> None:
    filled(spool)
    spool.path.write_bytes(spool.path.read_bytes().replace(b"Words 2", b"Words 7"))
    assert [each.number for each in spool.clear()] == [2]
    assert spool.clear() == ()
    assert bodies(spool) == [FIRST, THIRD]
    assert spool.contents().damaged == ()
    (aside,) = map(orjson.loads, spool.aside_path.read_bytes().splitlines())
    assert aside["why"] == "line 2 is damaged: it is kept aside, the others go on"
    assert "Words 7" in aside["line"]


def test_an_unfinished_answer_is_no_answer(spool: Spool) -> None:
    noted = filled(spool)
    spool.answered(noted[0], b'{"status":"recorded"}')
    spool.answered(noted[1], b'{"status":"recorded"}')
    spool.answers_path.write_bytes(spool.answers_path.read_bytes()[:-5])
    assert bodies(spool) == [SECOND, THIRD]
    spool.answered(noted[2], b'{"status":"recorded"}')
    assert bodies(spool) == [SECOND], "the unfinished answer swallows nothing either"


def test_a_full_disk_takes_the_half_written_line_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.append(FIRST)
    before = spool.path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:40]))
    with pytest.raises(SpoolProblem, match=r"No space left on device.*nothing was noted"):
        spool.append(SECOND)
    assert spool.path.read_bytes() == before


def test_a_line_is_on_disk_before_it_counts_as_noted(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}").encode()))
    spool.append(FIRST)
    assert synced == [bytes(spool.path), bytes(spool.path.parent)]


def test_what_is_no_command_is_refused_before_it_is_noted(spool: Spool) -> None:
    with pytest.raises(Malformed, match="customer_id"):
        spool.append(body(promise(customer_id="anna@example.com")))
    with pytest.raises(SpoolProblem, match="one line"):
        spool.append(orjson.dumps(orjson.loads(FIRST), option=orjson.OPT_INDENT_2))
    assert not spool.path.exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolProblem, match="cannot be used"):
        Spool(tmp_path / "file" / "notes.jsonl").append(FIRST)
    (tmp_path / "directory").mkdir()
    with pytest.raises(SpoolProblem, match="cannot be written"):
        Spool(tmp_path / "directory").append(FIRST)


def test_two_who_write_wait_for_each_other(spool: Spool) -> None:
    spool.append(FIRST)
    with spool.path.with_name("notes.jsonl.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=spool.append, args=(SECOND,))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert b"c-2" not in spool.path.read_bytes()
    thread.join(30)
    assert bodies(spool) == [FIRST, SECOND]


def test_a_full_notepad_says_so(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.spool.MAX_BYTES", 1000)
    spool.append(FIRST)
    with pytest.raises(SpoolProblem, match="is full"):
        filled(spool)
