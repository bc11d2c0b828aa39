"""What is derived of a past that stays the same: where that changes, the tables have to be made anew."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.domain.dispatch import EVENTS
from projections.findings.registry import FINDINGS
from projections.reports import ALL
from projections.versions import Definition
from tests.projections.past import tell_everything
from tests.projections.world import World

GOLDEN = Path(__file__).parents[1] / "golden" / "derived.txt"


def derived(world: World, definition: Definition) -> str:
    """The name and revision of the projection, and a digest of all its rows."""
    rows = hashlib.sha256(repr(sorted(world.rows(definition.name).items())).encode()).hexdigest()
    return f"{definition.name} {definition.revision} {rows[:16]}"


@pytest.fixture(scope="module")
def past(shared_world: World) -> World:
    """A ledger in whose past everything happened."""
    tell_everything(shared_world)
    return shared_world


def test_other_rows_are_another_revision(past: World) -> None:
    """Fails where the same events lead to other rows than before, as far as this past shows it.

    Then raise the `revision` of that projection, so that every installation hears that it must rebuild it.
    REWRITE_GOLDEN=1 writes the list anew, to be read in review; that alone is enough where this past was changed.
    """
    found = "".join(f"{derived(past, each)}\n" for each in ALL)
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")


def test_every_event_occurs_in_that_past(past: World) -> None:
    occurred = {row["topic"] for row in past.ask("SELECT DISTINCT topic FROM ledger.events")}
    assert occurred == set(EVENTS)


def test_every_finding_opens_in_that_past_and_closes_where_any_does(past: World) -> None:
    query = "SELECT code FROM audit.finding_history WHERE NOT prevented AND opened_at < %s"
    opened = {row["code"] for row in past.ask(query, past.now)}
    closed = {row["code"] for row in past.ask(f"{query} AND closed_at <= %s", past.now, past.now)}
    assert opened == set(FINDINGS)
    assert closed == set(FINDINGS) - {"rescheduled-after-due", "discovered-by-customer"}


def test_another_revision_is_another_release() -> None:
    for definition in ALL:
        assert replace(definition, revision=definition.revision + 1).digest != definition.digest
