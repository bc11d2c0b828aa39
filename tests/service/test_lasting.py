"""What a part's log says of a failure that lasts."""

import threading
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import structlog
from structlog.testing import capture_logs

from deploy.heartbeat import beat
from ledger.lasting import Lasting
from tests.projections.world import wait_for
from tests.storage.test_roles import as_role


def test_a_failure_that_lasts_is_told_ever_more_rarely_and_its_end_once() -> None:
    now = 0.0
    failing = Lasting(structlog.get_logger(), "no bread", clock=lambda: now)
    told = []
    with capture_logs() as logs:
        failing.went_well()
        assert logs == []
        for second in range(200):
            now = float(second)
            before = len(logs)
            failing.failed("the oven is cold")
            told += [second] * (len(logs) - before)
        failing.went_well()
        failing.went_well()
        failing.failed("again")
    assert told == [0, 2, 6, 14, 30, 62, 122, 182]
    assert [each["event"] for each in logs[len(told) :]] == ["no more: no bread", "no bread"]
    assert logs[0] == {"event": "no bread", "reason": "the oven is cold", "log_level": "warning"}


def test_a_part_says_when_the_database_is_away_and_when_it_is_back(database: str) -> None:
    stop, name = threading.Event(), urlsplit(database).path[1:]
    beating = threading.Thread(target=beat, args=(as_role(database, "ledger_relay"), "relay", dict, stop), daemon=True)

    def events() -> list[str]:
        return [each["event"] for each in logs]

    def switch(connections: str) -> None:
        with closing(psycopg.connect(database, dbname="postgres", autocommit=True)) as owner:
            owner.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {connections}'.encode())

    with capture_logs() as logs:
        switch("false")
        beating.start()
        wait_for(lambda: events() != [])
        switch("true")
        wait_for(lambda: events()[-1].startswith("no more"))
        stop.set()
        beating.join(30)
    assert events()[-1] == "no more: no heartbeat: the database is away"
    assert set(events()[:-1]) == {"no heartbeat: the database is away"}
