"""A made-up helpdesk: its export, as CSV, and a ledger that answers from memory."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from consumers.importing.commands import Prepared
from consumers.importing.delivery import Answer

MAPPINGS = Path(__file__).parents[2] / "deploy" / "mappings"
HELPDESK = MAPPINGS / "helpdesk-example.toml"
COLUMNS = (
    "Ticket",
    "Requester",
    "Agent",
    "Priority",
    "Channel",
    "Created",
    "Due",
    "Solved",
    "Status",
    "Subject",
    "Description",
    "Satisfaction",
)


def ticket(number: int = 4711, **changes: str) -> dict[str, str]:
    """A row of the export: solved in time, rated bad."""
    row = {
        "Ticket": str(number),
        "Requester": "Anna.Müller@example.com",
        "Agent": "u-17",
        "Priority": "High",
        "Channel": "Web",
        "Created": "20.11.2026 09:15",
        "Due": "24.11.2026",
        "Solved": "23.11.2026 17:02",
        "Status": "Solved",
        "Subject": "Router geht nicht",
        "Description": 'Der "X2"; er blinkt\nrot – seit gestern',
        "Satisfaction": "Bad, no call",
    }
    return row | changes


def export(rows: Sequence[dict[str, str]], *, encoding: str = "utf-8-sig", delimiter: str = ";") -> bytes:
    """The rows as the helpdesk writes them: semicolons, a byte order mark, quotes where they are needed."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode(encoding)


class Killed(BaseException):
    """The importer ends here, without a chance to tidy up."""


class Memory:
    """A ledger as far as the importer can tell: the first answer to an id is its answer for ever."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.waves: list[list[str]] = []
        self.refuse: dict[str, str] = {}
        self.die_at: int | None = None

    def __call__(self, commands: Sequence[Prepared]) -> list[Answer]:
        self.waves.append([command.submission.command_id for command in commands])
        if self.die_at is not None and len(self.waves) > self.die_at:
            raise Killed
        return [self._answer(command) for command in commands]

    def _answer(self, command: Prepared) -> Answer:
        command_id, canonical = command.submission.command_id, command.submission.canonical
        if self.contents.setdefault(command_id, canonical) != canonical:
            return Answer("id-reused", "The id has been used for something else.")
        code = self.refuse.get(command_id)
        return Answer(code, None if code is None else "No.")
