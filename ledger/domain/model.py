"""The kinds of value, and the bases of commands, events and states, that every family of the domain is made of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

ID_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,128}$"
# P3D, or hours and minutes such as PT8H, PT1H30M, PT90M (ISO 8601, the part of it that is needed).
DURATION_PATTERN: Final = r"^(P[1-9][0-9]{0,2}D|PT[1-9][0-9]{0,3}H([1-9][0-9]?M)?|PT[1-9][0-9]{0,4}M)$"
HOURS_PATTERN: Final = (
    r"^(mon|tue|wed|thu|fri|sat|sun) ([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
)
DAY_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ZONE_PATTERN: Final = r"^[A-Z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,2}$"
TZDATA_PATTERN: Final = r"^[0-9]{4}[a-z]{1,2}$"
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"
TEXT_PATTERN: Final = r"^[^\x00]*$"
LINE_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
PRINTABLE_PATTERN: Final = r"^[\x21-\x7e]*$"
WANTED: Final[Mapping[str, str]] = {
    ID_PATTERN: "1 to 128 characters of A-Z a-z 0-9 . _ : -",
    DURATION_PATTERN: "a duration such as P3D (days), PT3H, PT1H30M or PT90M",
    HOURS_PATTERN: "working hours of one day such as mon 09:00-12:00",
    DAY_PATTERN: "a day such as 2026-02-03",
    ZONE_PATTERN: "a time zone such as Europe/Berlin",
    TZDATA_PATTERN: "a version of the time zone database such as 2025b",
    CURRENCY_PATTERN: "a currency code such as EUR",
    TEXT_PATTERN: "text without NUL characters",
    LINE_PATTERN: "text without NUL and other control characters",
    PRINTABLE_PATTERN: "printable ASCII without spaces",
}
"""What a sentence asks for where a member does not match its pattern; a test goes over those of all commands."""
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(Z|[+-]\d\d:[0-5]\d)?", re.ASCII | re.IGNORECASE)


def utc_moment(value: object) -> datetime:
    """The moment that `value` names, in UTC, to the microsecond (further digits are cut off).

    `value` is an aware datetime or an RFC 3339 string with an offset; anything else is refused: pydantic alone would
    take "1700000000", a date without seconds, and a time without an offset. Source: RFC 3339, section 5.6.
    """
    if isinstance(value, str):
        found = _RFC3339.fullmatch(value)
        if found is None:
            raise PydanticCustomError("moment", "must be an RFC 3339 time with an offset")
        if found[1] is None:
            raise PydanticCustomError("moment_without_offset", "has no offset")
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError as error:
            raise PydanticCustomError("moment", "is not a time of any calendar day") from error
    elif not isinstance(value, datetime):
        raise PydanticCustomError("moment", "must be an RFC 3339 time with an offset")
    if value.tzinfo is UTC:
        return value
    if value.utcoffset() is None:
        raise PydanticCustomError("moment_without_offset", "has no offset")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("moment_out_of_range", "is outside the years 1 to 9999") from error


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a text as personal: sealed under the customer's key, never in the log in the clear."""


Id = Annotated[str, Field(pattern=ID_PATTERN)]
Moment = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_plain_validator_function(utc_moment),
        lambda _schema, _handler: {"type": "string", "format": "date-time"},
    ),
]
PersonalText = Annotated[str, StringConstraints(min_length=1, max_length=16384, pattern=TEXT_PATTERN), Personal()]
# A short reference or statement about a thing ("ticket 4711", "signed delivery note 88"), stored in the clear for
# ever: never words about a person, never a customer's own words. Those belong into a PersonalText.
Evidence = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=LINE_PATTERN)]
Ids = Annotated[tuple[Id, ...], Field(max_length=256)]
Channel = Literal["in_person", "phone", "video", "chat", "email", "letter", "voicemail", "post"]
Duration = Annotated[str, Field(pattern=DURATION_PATTERN)]
Severity = Annotated[int, Field(ge=1, le=4)]
# Why something went wrong: codes of the company's own, such as `transport`. What a customer is told (reason_class) and
# what was found (cause_class) are words of one vocabulary, so that they can be compared.
ReasonClass = Id
Control = Literal["within", "beyond"]


class Happened(NamedTuple):
    """What an event carries beside itself: when, when written down, who acted, which service sent it."""

    occurred_at: datetime
    recorded_at: datetime
    actor: str
    source: str


class State(Protocol):
    """What one stream adds up to. `version` is the number of its events.

    Every state is a NamedTuple: frozen like a dataclass, and three to seven times faster to make and to replace,
    which each append and each rebuild does once an event.
    """

    @property
    def customer_id(self) -> str | None: ...
    @property
    def version(self) -> int: ...


States = Callable[[str], State | None]


class Part(BaseModel):
    """An object inside a command."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Command(Part):
    """An order from a backend service: the members of the CloudEvent's `data`, and nothing else."""

    TYPE: ClassVar[str]
    INTERNAL: ClassVar[bool] = False  # True: only parts of the ledger itself may send it

    actor: Id
    occurred_at: Moment
    case_id: Id | None = None

    def streams(self) -> tuple[str, ...]:
        """The streams that `decide` reads or writes, as far as the command names them.

        A stream that only a state names (what a follow-up is about) is asked of `states` while deciding, so `states`
        must be able to load one that is not listed here.
        """
        raise NotImplementedError


class Event(BaseModel):
    """A fact. Its members hold strings, whole numbers, booleans, null, moments and arrays of ids, never an object.

    A personal member is None where it was not given, and also where it is read back sealed or erased.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    TOPIC: ClassVar[str]  # frozen: stored with every event
    PERSONAL: ClassVar[tuple[str, ...]] = ()
    STANDS_WITHOUT_WORDS: ClassVar[bool] = False  # True: of an erased customer it is recorded all the same, wordless

    customer_id: Id | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.PERSONAL = tuple(name for name, field in cls.model_fields.items() if is_personal(field))

    @property
    def stream(self) -> str:
        """The stream that the event belongs to, such as `promise:P-1`."""
        raise NotImplementedError


def is_personal(annotation: Any) -> bool:
    """True when a field, or a type inside its annotation, carries the mark `Personal`."""
    if isinstance(annotation, FieldInfo):
        return any(isinstance(mark, Personal) for mark in annotation.metadata) or is_personal(annotation.annotation)
    marks = getattr(annotation, "__metadata__", ())
    return any(isinstance(mark, Personal) for mark in marks) or any(map(is_personal, get_args(annotation)))
