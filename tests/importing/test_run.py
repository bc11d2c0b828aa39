"""A whole file: order, rejects, refusals, stopping and going on, and doing it twice."""

import csv
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

import consumers.importing.run
from consumers.importing.delivery import Send
from consumers.importing.errors import ImportProblem
from consumers.importing.run import ImportReport, import_file
from ledger.settings import Settings
from tests.importing.tickets import HELPDESK, MAPPINGS, Killed, Memory, export, ticket

TICKETS = [ticket(number, Created=f"20.11.2026 09:{number:02}") for number in range(10)]
STORIES = {"concern.raise": 10, "promise.make": 10, "promise.claim_kept": 10, "promise.dispute": 10}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is noted after each three rows."""
    monkeypatch.setattr(consumers.importing.run, "CHUNK_ROWS", 3)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "ledger")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "tickets.csv", TICKETS)


def written(path: Path, rows: Sequence[dict[str, str]], **options: Any) -> Path:
    path.write_bytes(export(rows, **options))
    return path


def run(settings: Settings, file: Path, send: Send, **options: Any) -> ImportReport:
    return import_file(settings, file, HELPDESK, send=send, **options)


def left_behind(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.data_dir / "imports").glob("*"))


def test_every_row_is_sent_and_counted(settings: Settings, file: Path) -> None:
    memory = Memory()
    report = run(settings, file, memory)
    assert (report.rows, report.recorded, report.refused, report.rejected) == (10, STORIES, {}, 0)
    assert report.complete
    assert len(memory.contents) == 40
    assert report.assumptions == ("A customer who rates an answer as bad does so one day after it.",)
    assert report.rejects_file is None
    assert left_behind(settings) == []


def test_a_second_run_sends_the_same_and_gets_the_same_answers(settings: Settings, file: Path) -> None:
    memory = Memory()
    first = run(settings, file, memory)
    sent, contents = memory.waves, dict(memory.contents)
    memory.waves = []
    assert run(settings, file, memory) == first
    assert memory.waves == sent
    assert memory.contents == contents


def test_a_longer_export_of_the_same_tickets_adds_only_the_new_ones(settings: Settings, file: Path) -> None:
    memory = Memory()
    run(settings, file, memory)
    longer = written(file.with_name("later.csv"), [*TICKETS, ticket(99)])
    assert run(settings, longer, memory).complete
    assert len(memory.contents) == 44


@pytest.mark.parametrize("waves", range(16))
def test_wherever_it_is_killed_it_goes_on_and_skips_nothing(settings: Settings, file: Path, waves: int) -> None:
    memory = Memory()
    memory.die_at = waves
    with pytest.raises(Killed):
        run(settings, file, memory)
    confirmed = {command_id for wave in memory.waves[: waves - waves % 4] for command_id in wave}
    memory.die_at, memory.waves = None, []
    report = run(settings, file, memory)
    assert (report.rows, report.recorded, report.refused) == (10, STORIES, {})
    assert {command_id for wave in memory.waves for command_id in wave} == memory.contents.keys() - confirmed
    assert len(memory.contents) == 40
    assert left_behind(settings) == []


def test_going_on_with_other_chunks_counts_nothing_twice(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()
    memory.die_at = 4
    with pytest.raises(Killed):
        run(settings, file, memory)
    memory.die_at = None
    monkeypatch.setattr(consumers.importing.run, "CHUNK_ROWS", 4)
    assert run(settings, file, memory).recorded == STORIES


def test_a_kill_before_the_last_note_is_harmless(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()

    def stop(done: int, rows: int) -> None:
        if done == rows:
            raise Killed

    with pytest.raises(Killed):
        run(settings, file, memory, progress=stop)
    assert len(left_behind(settings)) == 1
    memory.waves = []
    assert run(settings, file, memory).recorded == STORIES
    assert memory.waves == []


def test_progress_counts_rows(settings: Settings, file: Path) -> None:
    told: list[tuple[int, int]] = []
    run(settings, file, Memory(), progress=lambda done, rows: told.append((done, rows)))
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]


def test_bad_rows_are_set_aside_and_cost_nobody_else(settings: Settings, file: Path) -> None:
    rows = [*TICKETS]
    rows[2] = TICKETS[2] | {"Created": "gestern"}
    rows[5] = TICKETS[5] | {"Due": "31.02.2026"}
    rows[7] = TICKETS[7] | {"Status": "Spam"}
    memory = Memory()
    report = run(settings, written(file, rows), memory)
    assert (report.rows, report.rejected, report.complete) == (10, 3, False)
    assert [each.line for each in report.rejections] == [6, 12, 16]  # each ticket before has two lines
    assert "no time that the mapping can read" in report.rejections[0].reason
    assert report.recorded == dict.fromkeys(STORIES, 7)
    assert report.rejects_file is not None
    assert stat.S_IMODE(report.rejects_file.stat().st_mode) == 0o600
    with report.rejects_file.open(encoding="utf-8", newline="") as rejects:
        found = list(csv.DictReader(rejects, delimiter=";"))
    assert [row["import line"] for row in found] == ["6", "12", "16"]
    assert [{name: row[name] for name in TICKETS[0]} for row in found] == [rows[2], rows[5], rows[7]]


def test_rejects_can_be_corrected_and_imported_as_they_are(settings: Settings, file: Path) -> None:
    memory = Memory()
    report = run(settings, written(file, [*TICKETS[1:], TICKETS[0] | {"Due": "bald"}]), memory)
    assert report.rejects_file is not None
    corrected = file.with_name("corrected.csv")
    corrected.write_bytes(report.rejects_file.read_bytes().replace(b"bald", b"24.11.2026"))
    assert run(settings, corrected, memory).complete
    assert len(memory.contents) == 40


def test_going_on_lists_the_rejects_of_the_rows_before_too(settings: Settings, file: Path) -> None:
    memory = Memory()
    memory.die_at = 5
    written(file, [TICKETS[0] | {"Status": "Spam"}, *TICKETS[1:9], TICKETS[9] | {"Status": "Spam"}])
    with pytest.raises(Killed):
        run(settings, file, memory)
    assert [name for name in left_behind(settings) if "rejects" in name] == []
    memory.die_at = None
    report = run(settings, file, memory)
    assert [each.line for each in report.rejections] == [2, 20]
    assert report.recorded == dict.fromkeys(STORIES, 8)


def test_refusals_are_counted_by_code_and_listed_also_after_going_on(settings: Settings, file: Path) -> None:
    memory = Memory()
    memory.refuse = {"T-0:claim": "not-allowed", "T-9:dispute": "not-allowed", "T-9:claim": "unknown-promise"}
    memory.die_at = 9
    with pytest.raises(Killed):
        run(settings, file, memory)
    memory.die_at = None
    report = run(settings, file, memory)
    assert report.refused == {"not-allowed": 2, "unknown-promise": 1}
    assert [(each.line, each.command_id, each.type, each.code) for each in report.refusals] == [
        (2, "T-0:claim", "promise.claim_kept", "not-allowed"),
        (20, "T-9:claim", "promise.claim_kept", "unknown-promise"),
        (20, "T-9:dispute", "promise.dispute", "not-allowed"),
    ]
    assert not report.complete


def test_no_effect_is_on_its_way_before_its_cause_is_confirmed(settings: Settings, file: Path) -> None:
    memory = Memory()
    run(settings, file, memory)
    for wave in memory.waves:
        tickets = [command_id.partition(":")[0] for command_id in wave]
        assert len(tickets) == len(set(tickets))
    sent = [command_id for wave in memory.waves for command_id in wave]
    for number in range(10):
        story = [command_id for command_id in sent if command_id.startswith(f"T-{number}:")]
        assert story == [f"T-{number}:{name}" for name in ("raise", "promise", "claim", "dispute")]


def test_rows_about_one_promise_never_travel_together(settings: Settings, tmp_path: Path) -> None:
    """An export of events: one row says that the promise was made, a later one that it was claimed kept."""
    mapping = tmp_path / "events.toml"
    mapping.write_text(EVENTS)
    file = tmp_path / "events.csv"
    file.write_text("Id,Case,At,What\n3,A,2026-03-03,done\n1,A,2026-03-01,made\n2,B,2026-03-02,made\n")
    memory = Memory()
    assert import_file(settings, file, mapping, send=memory).complete
    assert memory.waves == [["1:made", "2:made"], ["3:done"]]


EVENTS = """
source = "events"
timezone = "UTC"
rows = { id = "row", order_by = "At" }
ids.row = { columns = ["Id"], make = "keep" }
ids.case = { columns = ["Case"], make = "keep" }

[[commands]]
name = "made"
type = "promise.make"
when = [{ column = "What", equals = "made" }]
occurred_at = { time = "At", at = "start_of_day" }
assumption = "At the start of the day."

[commands.data]
actor = "import"
promise_id = { id = "case" }
customer_id = { id = "case" }
kind = "fix"
text = "We repair it."
due_at = { time = "At", plus_days = 2, at = "end_of_day" }
owner = "shop"
channel = "phone"
basis = "known"

[[commands]]
name = "done"
type = "promise.claim_kept"
when = [{ column = "What", equals = "done" }]
occurred_at = { time = "At", at = "start_of_day" }
assumption = "At the start of the day."
data = { actor = "shop", promise_id = { id = "case" } }
"""


def test_rows_go_in_the_order_of_their_times(settings: Settings, file: Path) -> None:
    memory = Memory()
    run(settings, written(file, TICKETS[::-1]), memory)
    assert memory.waves[0] == ["T-0:raise", "T-1:raise", "T-2:raise"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(settings: Settings, file: Path, encoding: str) -> None:
    assert run(settings, written(file, TICKETS, encoding=encoding), Memory()).complete


def test_other_encodings_are_named_in_the_mapping(settings: Settings, tmp_path: Path, file: Path) -> None:
    memory = Memory()
    run(settings, file, memory)
    for encoding in ("windows-1252", "utf-16"):
        mapping = tmp_path / "mapping.toml"
        mapping.write_text(HELPDESK.read_text().replace('delimiter = ";"', f'delimiter = ";"\nencoding = "{encoding}"'))
        written(file, TICKETS, encoding=encoding)
        assert import_file(settings, file, mapping, send=memory).complete  # the same contents, or ids were reused


def test_a_row_in_another_encoding_is_set_aside_with_its_bytes(settings: Settings, file: Path) -> None:
    content = export(TICKETS[:1]) + export([ticket(5)], encoding="windows-1252").partition(b"\r\n")[2]
    file.write_bytes(content)
    report = run(settings, file, Memory())
    assert report.rejected == 1
    assert report.rejections[0].reason.startswith("it holds bytes that are not utf-8")
    assert report.rejects_file is not None
    assert b"Anna.M\xfcller" in report.rejects_file.read_bytes()


def test_the_key_is_made_once_and_private(settings: Settings, file: Path) -> None:
    run(settings, file, Memory())
    path = settings.keys_dir / "import"
    key = path.read_bytes()
    assert (len(key), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    run(settings, file, Memory())
    assert path.read_bytes() == key


def test_a_key_given_is_used_and_none_is_made(settings: Settings, file: Path, tmp_path: Path) -> None:
    memory, other = Memory(), Memory()
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    run(settings, file, memory, key_file=key)
    assert not settings.keys_dir.exists()
    run(settings, file, other)
    assert memory.contents.keys() == other.contents.keys()
    assert memory.contents != other.contents


def test_a_key_that_is_open_short_or_missing_is_refused(settings: Settings, file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    with pytest.raises(ImportProblem, match="cannot be read or made: No such file"):
        run(settings, file, Memory(), key_file=key)
    key.write_bytes(b"k" * 32)
    key.chmod(0o640)
    with pytest.raises(ImportProblem, match=r"is open to others \(mode 640\): chmod 600 it"):
        run(settings, file, Memory(), key_file=key)
    key.chmod(0o600)
    key.write_bytes(b"k" * 31)
    with pytest.raises(ImportProblem, match="holds 31 bytes, not 32"):
        run(settings, file, Memory(), key_file=key)


def test_progress_of_another_import_is_never_taken_for_ours(settings: Settings, file: Path, tmp_path: Path) -> None:
    memory = Memory()
    memory.die_at = 5
    state = tmp_path / "state.json"
    with pytest.raises(Killed):
        run(settings, file, memory, state=state)
    assert orjson.loads(state.read_bytes())["rows"] == 3
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    with pytest.raises(ImportProblem, match="belongs to another file, mapping or key"):
        run(settings, file, memory, state=state, key_file=key)
    written(file, TICKETS[1:])
    with pytest.raises(ImportProblem, match="belongs to another file, mapping or key"):
        run(settings, file, memory, state=state)
    state.write_bytes(b'{"of": "')
    with pytest.raises(ImportProblem, match="is no progress file"):
        run(settings, file, memory, state=state)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "the file is empty"),
        (b"Ticket;Status\r\n1;Solved\r\n", 'the mapping names the column "Agent", which the file does not have'),
        (export(TICKETS, delimiter=","), 'the mapping names the column "Agent", which the file does not have'),
        (export([]).replace(b"Subject", b"Agent"), "the mapping names the column"),
        (export([]).replace(b"Satisfaction", b"Satisfaction;Agent"), 'the file has two columns "Agent": rename one'),
        (export(TICKETS) + b'"never closed;', "the row that begins on line 22 is not CSV: unexpected end of data"),
        (export(TICKETS) + b'"a"b;', "the row that begins on line 22 is not CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_sent(
    settings: Settings, file: Path, content: bytes, wrong: str
) -> None:
    file.write_bytes(content)
    memory = Memory()
    with pytest.raises(ImportProblem, match=wrong):
        run(settings, file, memory)
    assert memory.waves == []


def test_a_file_that_is_not_there_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match=r"none\.csv: the file cannot be read \(No such file or directory\)\."):
        run(settings, tmp_path / "none.csv", Memory())


def test_empty_lines_are_no_rows(settings: Settings, file: Path) -> None:
    file.write_bytes(export(TICKETS) + b"\r\n\r\n")
    assert run(settings, file, Memory()).rows == 10


def test_every_mapping_that_is_shipped_is_tested() -> None:
    assert {path.name for path in MAPPINGS.glob("*.toml")} == {"cfpb.toml", "helpdesk-example.toml"}
