"""What the address of a page asks for: as of when, as far as known when, and which part of a long list."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from ledger.domain.model import utc_moment
from projections.queries import Part

ROWS: Final = 100
"""On one page."""
_FURTHEST: Final = 1_000_000


class Unclear(ValueError):
    """The address asks for nothing that there could be; the text says what was wrong."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The moments and the page that were asked for. None: now, as far as known now."""

    as_of: datetime | None = None
    known_at: datetime | None = None
    page: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Asked":
        """Raises Unclear with what to write instead."""
        page = query.get("page", "1")
        if not (page.isascii() and page.isdigit() and len(page) < 10 and 1 <= int(page) <= _FURTHEST // ROWS):
            raise Unclear(f"{page!r} is no page: a number from 1 to {_FURTHEST // ROWS}")
        return cls(moment(query.get("as_of", "")), moment(query.get("known_at", "")), int(page))

    @property
    def moments(self) -> dict[str, datetime | None]:
        """As the queries take them."""
        return {"as_of": self.as_of, "known_at": self.known_at}

    @property
    def now(self) -> bool:
        return self.as_of is None and self.known_at is None

    @property
    def part(self) -> Part:
        """One row more than a page shows, to know whether there is another."""
        return Part(ROWS + 1, (self.page - 1) * ROWS)

    def keeps(self, happened: Mapping[str, Any]) -> bool:
        """Whether an event had occurred and was recorded by then."""
        by, known = self.as_of, self.known_at
        return (by is None or happened["occurred_at"] <= by) and (known is None or happened["recorded_at"] <= known)

    def address(self, path: str, **more: Any) -> str:
        """The address of another page that asks as of the same moments."""
        moments = {name: at.isoformat().replace("+00:00", "Z") for name, at in self.moments.items() if at is not None}
        query = urlencode({name: value for name, value in (moments | more).items() if value not in (None, "")})
        return f"/console/{path}{'?' if query else ''}{query}"


def moment(text: str) -> datetime | None:
    """A moment as people write it: RFC 3339, or a day or minute in UTC. Empty: None. Raises Unclear."""
    text = text.strip()
    if not text:
        return None
    for spelled in (text, f"{text}Z", f"{text}:00Z", f"{text}T00:00:00Z"):
        try:
            return utc_moment(spelled.replace(" ", "T", 1))
        except ValueError:
            continue
    raise Unclear(f"{text!r} is no moment: write 2026-11-21, 2026-11-21 10:00 (UTC) or 2026-11-21T10:00:00+01:00")
