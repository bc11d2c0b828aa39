"""What people read on the terminal: rows as tables, moments to the minute in UTC, colours where they say something."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.foreign import harmless

_COLOURS = {
    "overdue": "bold red",
    "late": "red",
    "warned": "yellow",
    "on_time": "green",
    "verified": "green",
    "claimed": "yellow",
    "broken": "red",
    "kept": "green",
}


_LONG = ("text", "data", "detail", "reason", "rule")
_WIDE = 160


def printer(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal; where there is none (a pipe, a file) wide enough for every table here."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def show(console: Console, title: str, rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Print `rows` as one table of `columns`; a sentence instead where there are none."""
    columns = list(columns)
    if not rows:
        console.print(Text.assemble((title, "bold"), ": none"))
        return
    table = Table(title=Text(title, "bold"), title_justify="left", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column not in _LONG, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    console.print(table)
    console.print()


def counted(number: int, one: str) -> str:
    """`1 row`, `2 rows`: for what has an s where there are several."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def cell(value: Any) -> Text:
    """One value as it is shown; neither markup nor control characters do anything, since texts come from outside."""
    if value is None:
        return Text("")
    if isinstance(value, datetime):
        return Text(f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z")
    if isinstance(value, timedelta):
        return Text(str(value).split(".")[0])
    if isinstance(value, dict):
        return Text(", ".join(f"{name} {cell(item)}" for name, item in value.items() if item not in ((), [], None)))
    if isinstance(value, tuple | list):
        return Text(" ".join(str(cell(item)) for item in value))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(harmless(str(value)), style=_COLOURS.get(str(value), ""))
