"""What is derived of a past that stays the same: where that changes, the tables have to be made anew."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from ledger.settings import MAX_BATCH
from projections.reports import ALL
from projections.versions import Definition
from tests.projections.findings.test_report import any_story
from tests.projections.test_troubles import told_at_random
from tests.projections.world import World

GOLDEN = Path(__file__).parents[1] / "golden" / "derived.txt"


def derived(world: World, definition: Definition) -> str:
    """The name and revision of the projection, and a digest of all its rows."""
    rows = hashlib.sha256(repr(sorted(world.rows(definition.name).items())).encode()).hexdigest()
    return f"{definition.name} {definition.revision} {rows[:16]}"


def test_other_rows_are_another_revision(world: World) -> None:
    """Fails where the same events lead to other rows than before, as far as this past shows it.

    Then raise the `revision` of that projection, so that every installation hears that it must rebuild it.
    REWRITE_GOLDEN=1 writes the list anew, to be read in review; that alone is enough where this past was changed.
    """
    told_at_random(world, 5, 240)
    commands = any_story(world, 1, 1500)
    for start in range(0, len(commands), MAX_BATCH):
        world.ledger.submit(commands[start : start + MAX_BATCH])
    assert world.tell("subject.erase", 400, customer_id="C-2", grounds="art-17") == "recorded"
    world.catch_up()
    found = "".join(f"{derived(world, each)}\n" for each in ALL)
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")


def test_another_revision_is_another_release() -> None:
    for definition in ALL:
        assert replace(definition, revision=definition.revision + 1).digest != definition.digest
