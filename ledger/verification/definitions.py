"""What the log's tables are, compared with what this release makes them: triggers, owners, grants, all of it.

Rows are checked without this, and stand by themselves: whoever owns the database can take a trigger away, change a row
and put the trigger back. What is found here is that a door stands open now, before anybody went through it.

`definitions.txt` is the listing of a freshly migrated database, a line a fact. It is read with the same queries from
the catalogs, which every user may read; a test keeps it equal to what the migrations and roles.sql make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from psycopg import Cursor

from ledger.storage.migrations import role_names
from ledger.storage.sql import queries
from ledger.verification.report import Wrong, connect

SCHEMAS: Final = ("ledger", "service")
LISTING: Final = Path(__file__).with_suffix(".txt")
_QUERIES = queries(Path(__file__).with_suffix(".sql"))
_LONGEST: Final = 160
_OWNER = "SELECT pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = 'ledger'"


class Fact(NamedTuple):
    """What is said of one place: `what` names the fact within it."""

    place: str
    what: str


Facts = Mapping[Fact, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that is not as this release makes it. `found` is None where it is missing, `expected` where it is new."""

    place: str
    what: str
    found: str | None
    expected: str | None

    @property
    def sentence(self) -> str:
        """What differs, and what it should be where that fits into a sentence."""
        if self.found is None:
            return f"{self.what} is missing; this release makes it: {_short(self.expected)}"
        if self.expected is None:
            return f"{self.what} is not of this release: {_short(self.found)}"
        return f"{self.what} was changed: {_short(self.found)}; this release makes it: {_short(self.expected)}"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it, whole."""
        return asdict(self) | {"message": self.sentence}


def check(url: str) -> list[Difference]:
    """Every definition of the log at `url` that is not what this release makes, by place."""
    with connect(url) as connection, connection.cursor() as cursor:
        return differing(cursor)


def differing(cursor: Cursor[Any]) -> list[Difference]:
    """The same, asked in the transaction of `cursor`, of which it moves the search path."""
    row = cursor.execute(_OWNER).fetchone()
    found = listed(cursor, "" if row is None else row[0])
    return differences(found, possible(expected(), found, cursor.connection.info.server_version))


def readable(cursor: Cursor[Any]) -> None:
    """Raises Wrong at the first table or column of the log that is gone, or is not what its rows are read as.

    Asked in the transaction of `cursor`, of which it moves the search path.
    """
    for difference in differences(of_schemas(cursor, ("ledger",), ""), expected()):
        schema, _, table = difference.place.partition(".")
        read = difference.what == "kind" or difference.what.startswith("column ")
        if schema == "ledger" and read and difference.expected is not None:
            raise Wrong(table, difference.sentence)


def possible(meant: Facts, found: Facts, server_version: int) -> dict[Fact, str]:
    """What can be there: no grants to roles that this server never had (a restored copy), none that came with 17."""
    absent = [name for name in role_names() if Fact(f"role {name}", "is there") not in found]
    return {
        fact: definition
        for fact, definition in meant.items()
        if not any(fact.place == f"role {name}" or fact.what.endswith(f" to {name}") for name in absent)
        and not (server_version < 170000 and fact.what.startswith("grant of MAINTAIN "))
    }


def listed(cursor: Cursor[Any], owner: str) -> dict[Fact, str]:
    """What the log's schemas and what surrounds them say, in a database of which the log belongs to `owner`."""
    return of_schemas(cursor, SCHEMAS, owner) | _facts(cursor, "around", owner=owner)


def of_schemas(cursor: Cursor[Any], schemas: Sequence[str], owner: str) -> dict[Fact, str]:
    """What these schemas say; whatever does not belong to `owner` is said. Moves the search path of the transaction."""
    return _facts(cursor, "of_schemas", schemas=list(schemas), owner=owner)


def _facts(cursor: Cursor[Any], query: str, **parameters: Any) -> dict[Fact, str]:
    cursor.execute("SELECT set_config('search_path', '', true), set_config('quote_all_identifiers', 'off', true)")
    rows = cursor.execute(_QUERIES[query], {"roles": list(role_names()), **parameters}).fetchall()
    facts: dict[Fact, str] = {}
    for place, what, definition in rows:  # one is said twice where two gave a right, or of all databases and of this
        said = facts.get(Fact(place, what))
        facts[Fact(place, what)] = definition if said in (None, definition) else f"{said}, {definition}"
    return facts


def expected() -> dict[Fact, str]:
    """What this release makes: the listing that it ships."""
    lines = LISTING.read_text(encoding="utf-8").splitlines()
    return {Fact(place, what): definition for place, what, definition in (line.split(" | ", 2) for line in lines)}


def spelled(facts: Facts) -> str:
    """The listing as a file has it."""
    return "".join(f"{fact.place} | {fact.what} | {definition}\n" for fact, definition in sorted(facts.items()))


def differences(found: Facts, meant: Facts) -> list[Difference]:
    """What differs, by place."""
    facts = sorted({*found, *meant})
    return [Difference(*fact, found.get(fact), meant.get(fact)) for fact in facts if found.get(fact) != meant.get(fact)]


def _short(definition: str | None) -> str:
    text = " ".join((definition or "").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
