"""Health by progress: what stands still is said, also where every part says that it is alive."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from tzdata import IANA_VERSION

from ledger.domain.policies import Times
from ledger.storage.sql import QUERIES
from projections.runner import Runner, rebuild, rebuild_all
from projections.web.health import LAG_SECONDS, PARTS, health
from tests.projections.world import NOON, World


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


def test_a_log_that_goes_on_from_a_longer_one_is_healthy(world: World) -> None:
    alive(world)
    world.make(1)
    Runner(world.url, world.secrets).catch_up()
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("INSERT INTO ledger.checkpoints VALUES (99, E'example/ended\\n99\\n', now())")
    world.ledger.flush()
    found = health(world.url)
    assert (found.problems, found.signed_size) == ((), 1)


def test_a_clock_that_was_ahead_is_told_for_as_long_as_times_stand_still(world: World) -> None:
    alive(world)
    world.now = datetime.now(UTC) + timedelta(days=2)
    world.make(1)
    Runner(world.url, world.secrets).catch_up()
    (notice,) = health(world.url).notices
    assert notice.startswith("the last event was recorded by a clock 172")
    assert "all events get that time" in notice


def test_a_part_seen_in_the_future_is_not_taken_for_one_at_work(world: World) -> None:
    alive(world)
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE service.heartbeat SET at = now() + interval '1 hour'")
        assert connection.execute(QUERIES["at_work"]).fetchall() == []
    assert sum("ahead of the clock here" in problem for problem in health(world.url).problems) == len(PARTS)


def test_tables_of_another_release_are_one_sentence_with_one_command(world: World) -> None:
    alive(world)
    world.connection.execute("UPDATE projection.versions SET digest = 'older' WHERE name IN ('promises', 'findings')")
    found = health(world.url)
    assert found.problems == (
        "the tables of findings, promises were made by another release: run `promise-ledger rebuild findings promises`",
    )
    assert {each["name"] for each in found.projections if each["outdated"]} == {"findings", "promises"}
    assert rebuild_all(world.url, world.secrets, ["findings", "promises"]) == {"findings": 2, "promises": 2}
    assert health(world.url).problems == ()


def test_a_part_that_was_never_seen_or_not_lately_is_named(world: World) -> None:
    assert len(health(world.url).problems) == len(PARTS)
    alive(world)
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("UPDATE service.heartbeat SET at = now() - interval '1 minute' WHERE part = 'timer'")
    assert health(world.url).problems == ("timer was last seen 60 s ago",)


def test_time_zones_come_from_the_locked_package_and_never_from_the_machine() -> None:
    assert zoneinfo.TZPATH == ()
    assert zoneinfo.ZoneInfo.no_cache("Europe/Berlin").utcoffset(NOON.replace(tzinfo=None)) == timedelta(hours=1)


def test_a_calendar_published_with_another_tzdata_is_named_and_its_due_times_stay(world: World) -> None:
    alive(world)
    calendar = {"calendar_id": "de", "time_zone": "Europe/Berlin", "hours": ["mon 09:00-17:00"]}
    policy: dict[str, Any] = {"policy_id": "default", "approver": "u-2", "times": dict.fromkeys(Times.model_fields, 24)}
    policy["calendars"] = [calendar | {"covers_until": "2126-12-31"}]
    terms = {"promise_id": "P-1", "customer_id": "C-1", "kind": "fix", "text": "x", "owner": "u-1", "channel": "email"}
    world.now = datetime.now(UTC)

    assert world.tell("policy.publish", world.now, **policy, tzdata_version="1999a") == "recorded"
    assert world.tell("promise.make", world.now, **terms, basis="known", due_in="PT9H", calendar_id="de") == "recorded"
    world.catch_up()
    due = world.ask("SELECT due_at FROM audit.promises")
    found = health(world.url)
    assert found.notices == (
        f"calendar de was published with tzdata 1999a, and this ledger reckons with {IANA_VERSION}: see whether "
        f"Europe/Berlin changed, and publish it again with {IANA_VERSION}",
    )
    assert found.to_dict()["notices"] == list(found.notices)
    assert found.healthy, "it gets on"

    assert world.tell("policy.publish", world.now, **policy, tzdata_version=IANA_VERSION) == "recorded"
    assert health(world.url).notices == ()
    rebuild(world.url, world.secrets, "promises")
    assert world.ask("SELECT due_at FROM audit.promises") == due
