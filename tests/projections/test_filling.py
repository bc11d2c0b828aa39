"""Filling on several cores: the same tables as on one, and what fails in another process is said as if it were ours."""

from typing import Any

import pytest

from ledger.processes import ProcessDied
from projections import filling, versions
from projections.applying import Stopped
from projections.checking import check
from projections.log import Log
from projections.promises import PROMISES
from projections.rebuilding import rebuild
from projections.reports import ALL
from projections.runner import NAMES, status
from projections.texts import TEXTS
from tests.projections.world import World, story

SIZE = 90


@pytest.fixture
def told(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose log is worth four processes, on three cores."""
    monkeypatch.setattr(filling, "WORTH_A_PROCESS", SIZE // 3)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    world.ledger.submit(story(world, 11, SIZE))
    world.catch_up()
    return world


def everything(world: World) -> dict[str, Any]:
    return {name: world.rows(name) for name in NAMES}


def test_several_processes_make_the_same_tables_as_one(told: World) -> None:
    live, steps = everything(told), list[tuple[int, int]]()
    assert rebuild(told.url, told.secrets, ALL, lambda *step: steps.append(step)) == dict.fromkeys(NAMES, 2)
    assert everything(told) == live
    assert steps == sorted(steps)
    assert steps[-1] == (SIZE, SIZE)
    assert check(told.url, told.secrets) is None


def test_what_stops_in_another_process_is_said_and_the_old_versions_stay(told: World) -> None:
    live = everything(told)
    told.connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER append_only")
    told.connection.execute("UPDATE ledger.events SET state = 'no entry' WHERE notification_id = 42")
    targets = {TEXTS: 41, PROMISES: SIZE}  # nothing stops in this process, which opens the texts
    with versions.connect(told.url, "test") as writer, writer.transaction(), writer.cursor() as cursor:
        numbers = {each.name: versions.create(cursor, each, live=False) for each in targets}
    with versions.connect(told.url, "reader") as reader, pytest.raises(Stopped) as caught:
        filling.fill(told.url, Log(reader), told.secrets, numbers, targets, lambda done, total: None)
    assert (caught.value.name, caught.value.leaf_index) == ("promises", 41)
    assert "no entry" not in str(caught.value)
    assert everything(told) == live


def test_a_process_that_dies_is_said(told: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/true")
    with pytest.raises(ProcessDied):
        rebuild(told.url, told.secrets, ALL)
    assert {each.version for each in status(told.url)} == {1}
