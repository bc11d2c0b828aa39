"""The blast radius of a disclosure: what rests on it, who was told, who repeated it, which corrections are owed."""

from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.collecting import rare_collections

_AT_ONCE = 500


class Item(NamedTuple):
    """One row of audit.blast_radius: the disclosure itself, or a disclosure or promise that rests on it."""

    kind: Literal["disclosure", "promise"]
    id: str
    customer_id: str
    owner: str
    made_at: datetime
    made_by: str
    repeated: bool
    correction: Literal["owed", "attempted", "delivered"] | None
    corrected_by: str | None
    corrected_at: datetime | None
    leaf_index: int


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """One disclosure and everything that rests on it, `items`, in the order of the log, the disclosure first.

    `rests_on_falsehoods`: the falsified disclosures that it rests on itself.
    """

    disclosure_id: str
    falsified_at: datetime | None
    known_false_since: datetime | None
    rests_on_falsehoods: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def told(self) -> list[str]:
        """The customers who were told or promised any of it, each once, in the order of the log."""
        return list(dict.fromkeys(item.customer_id for item in self.items))

    @property
    def repeated_by(self) -> list[str]:
        """Who said any of it again after it was known to be false, each once, in the order of the log."""
        return list(dict.fromkeys(item.made_by for item in self.items if item.repeated))

    @property
    def owed(self) -> int:
        """How many disclosures are false, not corrected, and nobody tried to reach who was told them."""
        return sum(item.correction == "owed" for item in self.items)

    @property
    def delivered(self) -> int:
        """How many disclosures were corrected."""
        return sum(item.correction == "delivered" for item in self.items)

    @property
    def attempted(self) -> int:
        """How many disclosures are not corrected, but an attempt to reach who was told them is on record."""
        return sum(item.correction == "attempted" for item in self.items)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "disclosure_id": self.disclosure_id,
            "falsified_at": self.falsified_at,
            "known_false_since": self.known_false_since,
            "rests_on_falsehoods": list(self.rests_on_falsehoods),
            "told": self.told,
            "repeated_by": self.repeated_by,
            "corrections": {"owed": self.owed, "attempted": self.attempted, "delivered": self.delivered},
            "items": [dict(zip(Item._fields, item, strict=True)) for item in self.items],
        }


def blast_radius(
    connection: Connection[Any],
    disclosure_id: str,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> BlastRadius | None:
    """What rests on the disclosure now, falsified or not; None where there is no such disclosure.

    As of another moment with `as_of`, and as far as known at another with `known_at`.
    """
    asked = (disclosure_id, as_of, known_at)
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor, rare_collections():
        found = cursor.execute(
            "SELECT falsified_at, known_false_since FROM audit.disclosure_history WHERE disclosure_id = %s"
            " AND occurred_at <= coalesce(%s, 'infinity'::timestamptz)"
            " AND recorded_at <= coalesce(%s, 'infinity'::timestamptz) ORDER BY leaf_index DESC LIMIT 1",
            asked,
        ).fetchone()
        if found is None:
            return None
        sources = cursor.execute(
            "SELECT disclosure_id FROM audit.false_sources(%s, %s, %s) WHERE disclosure_id <> %s ORDER BY 1",
            (*asked, disclosure_id),
        ).fetchall()
        # Taken while the server still finds more: of 100,000 a quarter of the time is nobody's waiting.
        found_items = cursor.stream("SELECT * FROM audit.blast_radius(%s, %s, %s)", asked, size=_AT_ONCE)
        items = tuple(sorted(map(Item._make, found_items), key=attrgetter("leaf_index")))
    falsified_at, known_false_since = found
    return BlastRadius(disclosure_id, falsified_at, known_false_since, tuple(each for (each,) in sources), items)
