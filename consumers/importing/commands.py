"""Rows to commands: pure. The same row, mapping and key always give the same commands, byte for byte."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from consumers.cloudevents import Malformed, parse
from consumers.importing.errors import BadRow
from consumers.importing.mapping import ColumnValue, CommandRule, Condition, IdValue, MappingFile, TimeValue, Value
from consumers.importing.pseudonyms import UnsafeId, safe_id
from consumers.importing.rows import Row
from ledger.app import Submission

_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?)?", re.ASCII
)
_END_OF_DAY: Final = time(23, 59, 59)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One command, ready to be sent: a CloudEvent in structured mode, and what the ledger will read in it."""

    line: int
    body: bytes
    submission: Submission


@dataclass
class Mapper:
    """Makes commands of the rows under one header. It remembers the ids of the rows that it has seen."""

    mapping: MappingFile
    header: tuple[str, ...]
    key: bytes
    _seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index = {name: number for number, name in enumerate(self.header)}
        self._zone = self.mapping.zone
        # One row asks for the same ids again and again.
        self._safe_id = lru_cache(64)(lambda name, cells: safe_id(self.mapping.ids[name], cells, self.key))

    def order(self, row: Row) -> datetime:
        """The moment by which the row is ordered. Raises `BadRow`."""
        assert self.mapping.rows.order_by is not None
        self._check_width(row)
        moment = self._moment(row, TimeValue(time=self.mapping.rows.order_by), day_alone=True)
        if moment is None:
            raise BadRow(f'column "{self.mapping.rows.order_by}" is empty, and rows are ordered by it')
        return moment

    def commands(self, row: Row) -> list[Prepared]:
        """The commands of one row, in the order of the mapping: all of them, or `BadRow`."""
        self._check_width(row)
        self._check_text(row)
        for condition in self.mapping.expect:
            if not self._holds(condition, row):
                raise BadRow(f'column "{condition.column}" holds something that the mapping does not expect')
        row_id = self._id(row, IdValue(id=self.mapping.rows.id))
        if (first := self._seen.setdefault(row_id or "", row.line)) != row.line:
            raise BadRow(f"it has the same id as the row on line {first}")
        rules = [rule for rule in self.mapping.commands if all(self._holds(each, row) for each in rule.when)]
        return [self._prepared(rule, row, f"{row_id}:{rule.name}") for rule in rules]

    def _check_width(self, row: Row) -> None:
        if len(row.values) != len(self.header):
            raise BadRow(f"it has {len(row.values)} fields and the header {len(self.header)}")

    def _check_text(self, row: Row) -> None:
        try:
            "".join(row.values).encode()
        except UnicodeEncodeError:
            wrong = f"it holds bytes that are not {self.mapping.csv.encoding}"
            raise BadRow(f"{wrong}: correct csv.encoding, or the file") from None

    def _prepared(self, rule: CommandRule, row: Row, command_id: str) -> Prepared:
        occurred_at = self._moment(row, rule.occurred_at)
        if occurred_at is None:
            raise BadRow(f'column "{rule.occurred_at.time}" is empty, and {rule.name} occurred then')
        data: dict[str, Any] = {"occurred_at": _written(occurred_at)}
        for member, value in rule.data.items():
            _put(data, member, self._value(row, member, value))
        event = {"specversion": "1.0", "id": command_id, "source": self.mapping.source, "type": rule.type, "data": data}
        body = orjson.dumps(event)
        try:
            return Prepared(row.line, body, parse({}, body))
        except Malformed as malformed:
            raise BadRow(f"{rule.name}: {malformed.reason.removesuffix('.')}") from None

    def _value(self, row: Row, member: str, value: Value) -> Any:
        match value:
            case ColumnValue():
                found = self._column(row, value)
            case IdValue():
                found = self._id(row, value)
            case TimeValue():
                moment = self._moment(row, value)
                found = None if moment is None else _written(moment)
            case _:
                return value
        if found is None and not value.optional:
            raise BadRow(f"{member} is to come from a column that is empty")
        return found

    def _cell(self, row: Row, column: str) -> str:
        return row.values[self._index[column]].strip()

    def _holds(self, condition: Condition, row: Row) -> bool:
        return condition.holds(self._cell(row, condition.column))

    def _column(self, row: Row, value: ColumnValue) -> str | int | bool | None:
        text = next((cell for column in value.columns if (cell := self._cell(row, column))), "")
        if value.map is not None:
            if text in value.map:
                return value.map[text]
            if value.otherwise is None and text:
                raise BadRow(f'column "{value.columns[0]}" holds something that the map does not name')
            return value.otherwise
        if value.cut_after is not None and len(text) > value.cut_after:
            return f"{text[: value.cut_after]} [… {len(text) - value.cut_after} more characters, cut by the import]"
        return text or None

    def _id(self, row: Row, value: IdValue) -> str | None:
        """The id; None where a column of it is empty and it is optional."""
        rule = self.mapping.ids[value.id]
        cells = tuple(self._cell(row, column) for column in rule.columns)
        if not all(cells):
            if value.optional:
                return None
            raise BadRow(f'column "{rule.columns[cells.index("")]}" is empty, and {value.id} is made of it')
        try:
            return self._safe_id(value.id, cells)
        except UnsafeId as error:
            raise BadRow(f'column "{rule.columns[0]}" {error}') from None

    def _moment(self, row: Row, value: TimeValue, *, day_alone: bool = False) -> datetime | None:
        """The moment in UTC; None where the column is empty. A day without a time is one only where `at` says when."""
        text = self._cell(row, value.time)
        if not text:
            return None
        found, has_time = _read_time(text, self.mapping.time_formats, value.time)
        if not has_time and value.at is None and not day_alone:
            raise BadRow(f'column "{value.time}" holds a day without a time: say in the mapping at what time, with at')
        try:
            return _moved(found, value, self._zone)
        except OverflowError:
            raise BadRow(f'column "{value.time}" leads out of the years 1 to 9999') from None


def _put(data: dict[str, Any], member: str, value: Any) -> None:
    """Set `a` or `a.b`; what is None is left out."""
    outer, _, inner = member.partition(".")
    if value is None:
        return
    if inner:
        data.setdefault(outer, {})[inner] = value
    else:
        data[outer] = value


def _read_time(text: str, formats: list[str], column: str) -> tuple[datetime, bool]:
    """The time in `text`, without an offset where it has none, and whether it says more than the day."""
    for each in formats:
        try:
            return datetime.strptime(text, each), "%H" in each or "%I" in each
        except ValueError:
            continue
    if not formats and (iso := _ISO.fullmatch(text)):
        try:
            day, rest = text[:10], text[11:].replace(" ", "").replace("UTC", "Z")
            return datetime.fromisoformat(f"{day}T{rest}" if rest else day), iso["time"] is not None
        except ValueError:
            pass
    raise BadRow(f'column "{column}" holds no time that the mapping can read')


def _moved(found: datetime, value: TimeValue, zone: ZoneInfo) -> datetime:
    """`found` moved as `value` says, by the calendar and the clock on the wall in `zone`, and then in UTC.

    A time that the clock shows twice is the first of the two, one that it skips counts from before (PEP 495).
    """
    local = (found if found.tzinfo is None else found.astimezone(zone)).replace(tzinfo=None)
    if value.plus_days == 0 and value.at is None and found.tzinfo is not None:
        return found.astimezone(UTC)  # the offset in the file knows better than the wall which of two hours it was
    local += timedelta(days=value.plus_days)
    match value.at:
        case None:
            pass
        case "start_of_day":
            local = datetime.combine(local, time())
        case "end_of_day":
            local = datetime.combine(local, _END_OF_DAY)
        case clock:
            local = datetime.combine(local, time.fromisoformat(clock))
    return local.replace(tzinfo=zone).astimezone(UTC)


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
