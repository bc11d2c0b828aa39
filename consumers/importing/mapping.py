"""The mapping language: a TOML file that says which commands the rows of a CSV file become. docs/import.md teaches it.

Small on purpose: constants, columns, ids and times; no expressions, so that an auditor can read what was assumed.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from consumers.importing.errors import ImportProblem
from ledger.domain.dispatch import COMMANDS
from ledger.domain.model import WANTED, Id

LARGEST_BYTES: Final = 2**20
_ID_PART: Final = r"^[A-Za-z0-9._:-]{0,32}$"

Scalar = str | int | bool
Column = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Days = Annotated[int, Field(ge=-3660, le=3660)]
TimeOfDay = Annotated[str, Field(pattern=r"^(start_of_day|end_of_day|([01]\d|2[0-3]):[0-5]\d)$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Csv(_Table):
    """How the file is written. A byte order mark is always skipped."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: str = "utf-8"


class IdRule(_Table):
    """How a safe id is made of `columns`; the same prefix and values always give the same id under one key.

    `hash`: prefix and 32 hex digits of a keyed hash: for whatever names a person. `readable`: the words of the value
    and 8 digits of that hash: for what names no person. `keep`: the value itself, where it is safe already.
    """

    columns: Annotated[list[Column], Field(min_length=1, max_length=8)]
    make: Literal["hash", "readable", "keep"]
    prefix: Annotated[str, Field(pattern=_ID_PART)] = ""
    fold_case: bool = False


class Condition(_Table):
    """True of a row where the column's value is as one of these says; exactly one is given."""

    column: Column
    equals: str | None = None
    one_of: Annotated[list[str], Field(min_length=1)] | None = None
    starts_with: Annotated[str, Field(min_length=1)] | None = None
    empty: bool | None = None

    def holds(self, value: str) -> bool:
        """Whether the condition holds for `value`, compared exactly; only space around it does not count."""
        if self.equals is not None:
            return value == self.equals
        if self.one_of is not None:
            return value in self.one_of
        if self.starts_with is not None:
            return value.startswith(self.starts_with)
        return (value == "") is self.empty


class ColumnValue(_Table):
    """What stands in a column (the first of several that is not empty), translated by `map` where that is given.

    `otherwise` is taken for what the map does not name, an empty value among it. `cut_after` shortens a text to so
    many characters and says so in it.
    """

    column: Column | Annotated[list[Column], Field(min_length=1)]
    map: dict[str, Scalar] | None = None
    otherwise: Scalar | None = None
    cut_after: Annotated[int, Field(ge=1, le=16000)] | None = None
    optional: bool = False

    @property
    def columns(self) -> list[str]:
        return [self.column] if isinstance(self.column, str) else self.column


class IdValue(_Table):
    """An id, made as the rule of that name under `[ids]` says."""

    id: Name
    optional: bool = False


class TimeValue(_Table):
    """The moment in a column, some calendar days later or earlier, at another time of that day, in the time zone."""

    time: Column
    plus_days: Days = 0
    at: TimeOfDay | None = None
    optional: bool = False


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((f"<{verb}>" for verb in ("column", "id", "time") if verb in value), None)
    return "<constant>" if isinstance(value, str | int | bool) else None


Value = Annotated[
    Annotated[Scalar, Tag("<constant>")]
    | Annotated[ColumnValue, Tag("<column>")]
    | Annotated[IdValue, Tag("<id>")]
    | Annotated[TimeValue, Tag("<time>")],
    Discriminator(_kind),
]


class CommandRule(_Table):
    """One command that a row becomes where all of `when` hold.

    `assumption` states in one sentence what `occurred_at` assumes beyond the file; required where it is derived.
    """

    name: Name
    type: str
    when: list[Condition] = []
    occurred_at: TimeValue
    assumption: str | None = None
    data: dict[Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)?$")], Value]


class Rows(_Table):
    """`id` names the rule whose id tells one row from all others for ever: command ids are made of it.

    Rows are taken in the order of the file, or of the times in `order_by`.
    """

    id: Name
    order_by: Column | None = None


class MappingFile(_Table):
    """A whole mapping file."""

    source: Id
    timezone: str
    time_formats: list[str] = []
    csv: Csv = Csv()
    rows: Rows
    ids: dict[Name, IdRule]
    expect: list[Condition] = []
    commands: Annotated[list[CommandRule], Field(min_length=1)]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def columns(self) -> set[str]:
        """Every column that the mapping names."""
        named = {column for rule in self.ids.values() for column in rule.columns}
        named |= {condition.column for condition in self.expect}
        if self.rows.order_by is not None:
            named.add(self.rows.order_by)
        for command in self.commands:
            named |= {condition.column for condition in command.when} | {command.occurred_at.time}
            for value in command.data.values():
                if isinstance(value, ColumnValue):
                    named.update(value.columns)
                elif isinstance(value, TimeValue):
                    named.add(value.time)
        return named


def load_mapping(path: Path) -> MappingFile:
    """The mapping in the TOML file `path`. Raises `ImportProblem` with file and key of the first mistake."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise ImportProblem(f"{path}: the mapping is larger than {LARGEST_BYTES} bytes, which cannot be one.")
        mapping = MappingFile.model_validate(tomllib.loads(content.decode()))
    except OSError as error:
        raise ImportProblem(f"{path}: the mapping cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ImportProblem(f"{path}: the mapping is not UTF-8: save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ImportProblem(f"{path}: this is no TOML: {error}.") from None
    except ValidationError as error:
        raise ImportProblem(f"{path}: {_first_mistake(error)}") from None
    for key, sentence in _mistakes(mapping):
        raise ImportProblem(f"{path}: {key}: {sentence}")
    return mapping


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False, include_input=False)[0]
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in mistake["loc"] if _shown(part))
    match mistake["type"]:
        case "missing":
            sentence = "this key is missing."
        case "extra_forbidden":
            sentence = "there is no such key: remove it, or correct its name."
        case "union_tag_not_found":
            sentence = "write a constant, or a table with column, id or time."
        case "string_pattern_mismatch" if wanted := WANTED.get(mistake["ctx"]["pattern"]):
            sentence = f"must be {wanted}."
        case _:
            sentence = f"{mistake['msg'][0].lower()}{mistake['msg'][1:]}."
    return f"{key.removeprefix('.')}: {sentence}"


def _shown(part: int | str) -> bool:
    """False for what pydantic adds to the path that the file does not have."""
    return isinstance(part, int) or not (part.startswith(("<", "list[", "constrained-")) or part in ("str", "[key]"))


def _mistakes(mapping: MappingFile) -> Iterator[tuple[str, str]]:
    """What is wrong beyond the shape of the file, as (key, sentence)."""
    try:
        _ = mapping.zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield "timezone", f"{mapping.timezone} is no time zone known here: write one such as Europe/Berlin."
    try:
        "".encode(mapping.csv.encoding)
    except LookupError:
        yield "csv.encoding", f"{mapping.csv.encoding} is no encoding: write one such as utf-8 or windows-1252."
    yield from _unknown_id("rows.id", mapping.rows.id, mapping)
    for name, rule in mapping.ids.items():
        if rule.make != "hash" and len(rule.columns) > 1:
            yield f"ids.{name}.make", f"{rule.make} takes one column; several are told apart by hash only."
    yield from _bad_conditions("expect", mapping.expect)
    seen: set[str] = set()
    for number, command in enumerate(mapping.commands, start=1):
        key = f"commands[{number}]"
        if command.name in seen:
            yield f"{key}.name", f"{command.name} is the name of another command: command ids are made of it."
        seen.add(command.name)
        yield from _bad_conditions(f"{key}.when", command.when)
        yield from _bad_command(key, command, mapping)


def _bad_conditions(key: str, conditions: list[Condition]) -> Iterator[tuple[str, str]]:
    for number, condition in enumerate(conditions, start=1):
        if len(condition.model_fields_set - {"column"}) != 1:
            yield f"{key}[{number}]", "give exactly one of equals, one_of, starts_with and empty."


def _bad_command(key: str, command: CommandRule, mapping: MappingFile) -> Iterator[tuple[str, str]]:
    kind = COMMANDS.get(command.type)
    if kind is None or kind.INTERNAL:
        yield f"{key}.type", f"{command.type} is no command: `promise-ledger schema` lists them."
        return
    if command.assumption is None and (command.occurred_at.plus_days or command.occurred_at.at):
        yield f"{key}.assumption", "occurred_at is derived: state in one sentence what it assumes."
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    given = {member.partition(".")[0] for member in command.data}
    for member in command.data:
        if member.partition(".")[0] not in fields or member == "occurred_at":
            yield f"{key}.data.{member}", f"{command.type} has no such member here."
    for member, field in fields.items():
        if field.is_required() and member not in given | {"occurred_at"}:
            yield f"{key}.data.{member}", f"{command.type} needs this member."
    for member, value in command.data.items():
        if isinstance(value, IdValue):
            yield from _unknown_id(f"{key}.data.{member}.id", value.id, mapping)
        elif isinstance(value, ColumnValue) and value.otherwise is not None and value.map is None:
            yield f"{key}.data.{member}.otherwise", "this needs a map, of whose names it is the rest."
        elif isinstance(value, Scalar) and member in fields:  # what stands in a member of a member, each row is asked
            yield from _bad_constant(f"{key}.data.{member}", fields[member], value)


def _bad_constant(key: str, field: FieldInfo, value: Scalar) -> Iterator[tuple[str, str]]:
    try:
        TypeAdapter(field.rebuild_annotation()).validate_python(value, strict=True)
    except ValidationError as error:
        yield key, _first_mistake(error).removeprefix(": ")


def _unknown_id(key: str, name: str, mapping: MappingFile) -> Iterator[tuple[str, str]]:
    if name not in mapping.ids:
        yield key, f"there is no [ids.{name}]."
