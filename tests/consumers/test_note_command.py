"""`promise-ledger note`: on disk first, into the ledger once it can be reached."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumers.spool import Spool
from deploy import cli
from deploy.places import prepare
from tests.consumers.conftest import Service
from tests.consumers.sending import NOWHERE, streams
from tests.consumers.test_client import serving


class NotepadCommand:
    """`promise-ledger note` in this process, in a home of its own: exit code and the JSON that it prints."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> None:
        self.home, self._capture, self._patch = home, capture, patch
        patch.setenv("LEDGER_DATA_DIR", str(home))
        patch.delenv("LEDGER_BROKER_URL", raising=False)

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        self._patch.setattr(sys, "argv", ["promise-ledger", "note", *arguments, "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        found = self._capture.readouterr()
        return int(end.value.code or 0), orjson.loads(found.out) if found.out else found.err.decode()


@pytest.fixture
def note(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> NotepadCommand:
    return NotepadCommand(tmp_path / "home", capfdbinary, monkeypatch)


def test_notes_are_taken_while_everything_is_away_and_recorded_when_it_is_back(
    service: Service, note: NotepadCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = note("--outage", "O-1", "--declare", "crm", "--actor", "u-1", "--customer", "C-2", "Cannot log in.")
    assert (code, said["waiting"], len(said["noted"])) == (0, 2, 2)
    assert "no ledger runs here" in said["reason"]
    monkeypatch.setenv("LEDGER_BROKER_URL", NOWHERE)
    code, said = note("--outage", "O-1", "--customer", "C-1", "--actor", "u-1", "--read-back", "Asks for her order.")
    assert (code, said["waiting"], len(said["noted"])) == (0, 3, 1)
    assert note("--deliver")[0] == 1, "nothing could be delivered: that is bad news for who asked for it"
    assert "Asks for her order." in (note.home / "notepad" / "notes.jsonl").read_text()
    monkeypatch.setenv("LEDGER_BROKER_URL", service.broker_url)
    with serving(service):
        code, said = note("--deliver")
        assert (code, said["recorded"], said["waiting"]) == (0, 3, 0)
        code, said = note("--outage", "O-2", "--customer", "C-1", "Nobody declared this one.")
        assert (code, said["recorded"]) == (1, 0)
        assert "unknown-outage" in said["refused"][0]
    assert streams(service.settings)[:3] == ["outage:O-1"] * 3
    left = {path.name for path in (note.home / "notepad").iterdir()}
    assert left == {"notes.jsonl.answers", "notes.jsonl.aside", "notes.jsonl.lock"}
    assert prepare(note.home) == note.home, "a ledger may start where a notepad lies already"


def test_a_note_that_lacks_something_is_one_sentence_without_its_words(note: NotepadCommand) -> None:
    for arguments in (("--customer", "C-1", "Asks"), ("--outage", "O-1", "Asks"), ("--outage", "O-1"), ()):
        code, said = note(*arguments)
        assert code == 2
        assert "a note needs --outage, --customer and a text" in said
    code, said = note("--outage", "O-1", "--customer", "anna@example.com", "Asks for her order.")
    assert code == 2
    assert "`customer_id` must be a pseudonym" in said
    assert "Asks" not in said
    for given in (("Asks for her order.",), ("--outage", "O-1"), ("--read-back",)):
        code, said = note("--deliver", *given)
        assert code == 2
        assert "--deliver takes no note" in said
    assert not note.home.exists()


def test_what_is_on_disk_is_said_whatever_becomes_of_its_delivery(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text("no JSON")
    monkeypatch.delenv("LEDGER_BROKER_URL", raising=False)
    given = ("note", "--data-dir", str(tmp_path), "--outage", "O-1", "--customer", "C-1", "Asks for her order.")
    monkeypatch.setattr(sys, "argv", ["promise-ledger", *given])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capfd.readouterr()
    assert (end.value.code, "run.json is damaged" in said.err) == (1, True)
    (noted,) = Spool(tmp_path / "notepad" / "notes.jsonl").contents().pending
    assert said.out == f"noted: {orjson.loads(noted.body)['id']}\n"
