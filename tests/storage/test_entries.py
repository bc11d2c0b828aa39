"""What is wrong with a range of rows is found at its first leaf; of two things at one leaf the plainest is named."""

from hashlib import sha256
from typing import Any

import orjson
import pytest

from ledger.verification.entries import EventRow, checked
from ledger.verification.inbox import Inbox

FIRST, STOP = 40, 46


def _event(leaf: int, **other: Any) -> EventRow:
    """The row of one event of a command of its own, at noon; `other` members may stand in the entry."""
    entry = {
        "v": 1,
        "stream": f"promise:P-{leaf}",
        "version": 1,
        "type": "PromiseMade",
        "event_id": f"0199-{leaf}",
        "recorded_at": "2026-11-22T12:00:00Z",
        "source": "crm",
        "command_id": f"c-{leaf}",
        "command_digest": "AAAA",
    }
    state = orjson.dumps(entry | other)
    return leaf, f"promise:P-{leaf}", 1, "PromiseMade", state, sha256(b"\0" + state).digest()


ROWS = [_event(leaf) for leaf in range(FIRST, STOP)]
HASHES = [row[5] for row in ROWS]


def _changed(leaf: int, **columns: Any) -> EventRow:
    names = ("leaf_index", "stream", "version", "type", "state", "leaf_hash")
    return tuple((dict(zip(names, ROWS[leaf - FIRST], strict=True)) | columns).values())  # type: ignore[return-value]


def test_rows_that_are_right_are_their_entries_and_hashes():
    entries, hashes, found = checked(FIRST, STOP, ROWS)
    assert ([entry.command_id for entry in entries], hashes, found) == (
        [f"c-{leaf}" for leaf in range(40, 46)],
        HASHES,
        None,
    )


@pytest.mark.parametrize(
    ("leaf", "rows", "sentence", "stream"),
    [
        (40, [], "leaf 40 is missing", None),
        (40, ROWS[1:], "leaf 40 is missing: the next one stored is 41", None),
        (43, [*ROWS[:3], *ROWS[4:]], "leaf 43 is missing: the next one stored is 44", None),
        (45, ROWS[:5], "leaf 45 is missing", None),
        (42, [*ROWS[:2], ROWS[1], *ROWS[2:5]], "leaf 42 is missing: the next one stored is 41", None),
        (46, [*ROWS, ROWS[5]], "leaf 46 is missing: the next one stored is 45", None),
    ],
)
def test_a_missing_row_is_named(leaf: int, rows: list[EventRow], sentence: str, stream: str | None):
    entries, hashes, found = checked(FIRST, STOP, rows)
    assert found is not None
    assert (found.before, found.problem.leaf_index) == (leaf - FIRST, leaf)
    assert (found.problem.table, found.problem.message, found.problem.stream) == ("events", sentence, stream)
    assert (len(entries), hashes) == (leaf - FIRST, HASHES[: leaf - FIRST])


NO_HASH = "the stored bytes are not those that leaf_hash was made of"
COLUMNS = "the columns do not say what the entry says"
BACK = "recorded_at goes back"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (_changed(43, leaf_hash=bytes(32)), NO_HASH),
        (_changed(43, state=b"{}"), NO_HASH),
        (_changed(43, leaf_hash=bytes(32), stream="promise:P-1"), NO_HASH),
        (_changed(43, stream="promise:P-1"), COLUMNS),
        (_changed(43, version=2), COLUMNS),
        (_changed(43, type="PromiseKept"), COLUMNS),
        (_event(43, version=2, recorded_at="2026-11-22T11:59:59Z"), COLUMNS),
        (_event(43, recorded_at="2026-11-22T11:59:59.999Z"), BACK),
        (_event(43, v=2), "the stored bytes are no entry: Invalid enum value 2 - at `$.v`"),
        (
            _event(43, command_digest="A"),
            "the stored bytes are no entry: Invalid base64 encoded string - at `$.command_digest`",
        ),
    ],
)
def test_the_first_row_that_is_not_right_is_named(row: EventRow, sentence: str):
    later = _changed(45, stream="promise:P-1")
    entries, hashes, found = checked(FIRST, STOP, [*ROWS[:3], row, ROWS[4], later])
    assert found is not None
    assert (found.before, found.problem.table, found.problem.leaf_index) == (3, "events", 43)
    assert (found.problem.message, found.problem.stream) == (sentence, row[1])
    assert (len(entries), hashes) == (3, HASHES[:3])


def test_a_fraction_of_a_second_goes_forward():
    rows = [
        _event(40),
        _event(41, recorded_at="2026-11-22T12:00:00.5Z"),
        _event(42, recorded_at="2026-11-22T12:00:01Z"),
    ]
    assert checked(40, 43, rows).found is None


def _inbox(*rows: tuple[int, int], shared: bool = False) -> Inbox:
    """An inbox of rows (first leaf, events), each of the command that the leaf's event names."""
    return Inbox(iter([("crm", f"c-{start}", b"\0\0\0", start, events) for start, events in rows]), shared=shared)


def test_commands_of_several_events_go_on_in_the_next_range():
    entries = checked(40, 46, [_event(leaf, command_id=f"c-{leaf - leaf % 4}") for leaf in range(40, 46)]).entries
    inbox = _inbox((40, 4), (44, 4))
    assert (inbox.check(40, entries), inbox.check(46, entries[-2:]), inbox.left()) == (None, None, None)


@pytest.mark.parametrize(
    ("rows", "before", "leaf", "sentence"),
    [
        ([(40, 1), (41, 1)], 2, 42, "the row of this command is missing"),
        ([(40, 1), (42, 1)], 1, 41, "the row of command c-42 of crm is not where the log has it"),
        ([(40, 1), (40, 1)], 1, 40, "the row of command c-40 of crm is not where the log has it"),
        ([(39, 2)], 0, 39, "the row of command c-39 of crm is not where the log has it"),
        ([(40, 0)], 0, 40, "the row of command c-40 of crm is not where the log has it"),
        ([(40, 2)], 1, 40, "command c-41 of crm is not what the inbox says"),
    ],
)
def test_a_row_of_the_inbox_that_is_not_right_is_named(
    rows: list[tuple[int, int]], before: int, leaf: int, sentence: str
):
    found = _inbox(*rows).check(40, checked(FIRST, STOP, ROWS).entries)
    assert found is not None
    assert (found.before, found.problem.table, found.problem.leaf_index, found.problem.message) == (
        before,
        "inbox",
        leaf,
        sentence,
    )


@pytest.mark.parametrize("row", [("erp", "c-40", b"\0\0\0"), ("crm", "c-41", b"\0\0\0"), ("crm", "c-40", b"\0\0\1")])
def test_source_id_and_digest_of_a_command_are_compared(row: tuple[str, str, bytes]):
    found = Inbox(iter([(*row, 40, 1)]), shared=False).check(40, checked(40, 41, ROWS[:1]).entries)
    assert found is not None
    assert found.problem.message == "command c-40 of crm is not what the inbox says"


def test_one_row_of_the_inbox_is_not_two():
    entries = checked(40, 42, [_event(40), _event(41, command_id="c-40")]).entries
    twice = Inbox(iter([("crm", "c-40", b"\0\0\0", leaf, 1) for leaf in (40, 41)]), shared=False)
    found = twice.check(40, entries)
    assert found is not None
    assert found.problem.message == "the row of command c-40 of crm was split in two"


def test_only_a_checker_that_shares_the_log_meets_the_rest_of_a_command():
    entries = checked(40, 42, [_event(leaf, command_id="c-39") for leaf in (40, 41)]).entries
    assert _inbox((39, 3), shared=True).check(40, entries) is None
    assert _inbox((39, 3)).check(40, entries) is not None
    halfway = _inbox((40, 1), (40, 2), shared=True).check(40, checked(40, 42, ROWS[:2]).entries)
    assert halfway is not None
    assert halfway.problem.message.endswith("is not where the log has it"), "in the middle of a range nothing goes on"


def test_a_row_of_the_inbox_beyond_the_log_is_named():
    inbox = _inbox((40, 1), (41, 1))
    assert inbox.check(40, checked(40, 41, ROWS[:1]).entries) is None
    left = inbox.left()
    assert left is not None
    assert (left.leaf_index, left.message) == (41, "command c-41 of crm is in the inbox and not in the log")
