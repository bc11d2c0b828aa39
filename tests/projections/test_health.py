"""Health by progress: what stands still is said, also where every part says that it is alive."""

from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from projections.runner import Runner
from projections.web.health import LAG_SECONDS, PARTS, health
from tests.projections.world import World


def alive(world: World) -> None:
    """Every part was seen just now."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        for part in PARTS:
            connection.execute(
                "INSERT INTO service.heartbeat VALUES (%s, now(), %s) ON CONFLICT (part) DO UPDATE SET at = now()",
                (part, Jsonb({})),
            )


def test_a_projection_that_does_not_get_on_is_failing_though_every_part_is_alive(world: World) -> None:
    alive(world)
    assert health(world.url).problems == ()
    world.now = datetime.now(UTC)
    world.make(1)
    assert health(world.url).problems == (), "an event of this moment may wait"


def test_an_event_that_waits_too_long_is_named(world: World) -> None:
    alive(world)
    world.now = datetime.now(UTC) - timedelta(seconds=LAG_SECONDS + 5)
    world.make(1)
    problems = health(world.url).problems
    assert any("projection promises does not get on: its next event, leaf 0, waits for 3" in one for one in problems)
    Runner(world.url, world.secrets).catch_up()
    assert health(world.url).problems == ()


def test_a_log_shorter_than_its_projections_is_failing(world: World) -> None:
    alive(world)
    world.make(1)
    Runner(world.url, world.secrets).catch_up()
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE ledger.head SET size = 0, frontier = ''")
    assert "run `promise-ledger verify`" in health(world.url).problems[0]


def test_a_part_that_was_never_seen_or_not_lately_is_named(world: World) -> None:
    assert len(health(world.url).problems) == len(PARTS)
    alive(world)
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE service.heartbeat SET at = now() - interval '1 minute' WHERE part = 'timer'")
    assert health(world.url).problems == ("timer was last seen 60 s ago",)
