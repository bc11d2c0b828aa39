"""A small export through the real queue: twice, and with the importer killed in the middle."""

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import consumers.importing.sending
from consumers.asking import NoAnswer
from consumers.importing.errors import ImportProblem
from consumers.importing.run import import_file
from consumers.recording import LineAnswer
from ledger.settings import Settings
from tests.importing.tickets import HELPDESK, export, ticket

TICKETS = [ticket(number, Created=f"20.11.2026 09:{number % 60:02}") for number in range(100)]
STORIES = {"concern.raise": 100, "promise.make": 100, "promise.claim_kept": 100, "promise.dispute": 100}
IMPORTER = """
import sys
from pathlib import Path
import consumers.importing.run as run
from ledger.settings import Settings

run.CHUNK_ROWS = 20
data_dir, broker_url, file, mapping = sys.argv[1:]
settings = Settings(data_dir=Path(data_dir), broker_url=broker_url)
run.import_file(settings, Path(file), Path(mapping), progress=lambda done, rows: print(done, flush=True))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    path.write_bytes(export(TICKETS))
    return path


def recorded(settings: Settings) -> dict[str, int]:
    """The events in the log, by topic."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url) as connection:
        return dict(connection.execute("SELECT topic, count(*) FROM ledger.events GROUP BY topic").fetchall())


ONCE = {"concern.raised": 100, "promise.made": 100, "promise.claimed_kept": 100, "promise.disputed": 100}


def test_a_second_import_records_nothing_twice(served: Settings, file: Path) -> None:
    first = import_file(served, file, HELPDESK)
    assert (first.recorded, first.complete) == (STORIES, True)
    assert import_file(served, file, HELPDESK) == first
    assert recorded(served) == ONCE


def test_killed_in_the_middle_it_goes_on_where_it_was(served: Settings, file: Path) -> None:
    assert served.broker_url is not None
    arguments = [str(served.data_dir), served.broker_url, str(file), str(HELPDESK)]
    with subprocess.Popen([sys.executable, "-c", IMPORTER, *arguments], stdout=subprocess.PIPE) as importer:
        assert importer.stdout is not None
        assert importer.stdout.readline() == b"20\n"
        importer.send_signal(signal.SIGKILL)
    assert importer.returncode == -signal.SIGKILL
    told: list[int] = []
    report = import_file(served, file, HELPDESK, progress=lambda done, rows: told.append(done))
    assert (report.recorded, report.refused) == (STORIES, {})
    assert recorded(served) == ONCE


def test_what_the_ledger_refuses_is_reported(served: Settings, file: Path) -> None:
    late = ticket(1, Due="19.11.2026")
    file.write_bytes(export([ticket(0), late]))
    report = import_file(served, file, HELPDESK)
    assert report.refused == {"due-before-made": 1, "unknown-promise": 2}
    assert [each.command_id for each in report.refusals] == ["T-1:promise", "T-1:claim", "T-1:dispute"]
    assert report.refusals[0].message.startswith("Promise T-1 is due")
    assert report.recorded == {"concern.raise": 2, "promise.make": 1, "promise.claim_kept": 1, "promise.dispute": 1}


def test_without_a_queue_it_says_what_to_do(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportProblem, match=r"^No queue to send to: start `promise-ledger up`"):
        import_file(Settings(data_dir=tmp_path), file, HELPDESK)

    def silence(broker_url: str, lines: object) -> list[LineAnswer]:
        raise NoAnswer("NATS does not answer.")

    monkeypatch.setattr(consumers.importing.sending, "record_file", silence)
    with pytest.raises(ImportProblem, match=r"^NATS does not answer\. Import the same again to go on"):
        import_file(Settings(data_dir=tmp_path, broker_url="nats://127.0.0.1:9"), file, HELPDESK)
