"""Whoever looks at pages keeps nobody from the health of the service and from the log, however many they are."""

import time
from concurrent.futures import ThreadPoolExecutor

from projections.web.console.routes import WAITING
from projections.web.tiles import POOL_SIZE
from tests.projections.console.conftest import browsing
from tests.projections.world import World, wait_for

CROWD = 60
"""More than the server has threads for everything else."""


def test_a_crowd_that_waits_for_pages_keeps_nobody_from_health_and_the_log(world: World) -> None:
    world.make(1)
    world.catch_up()
    (live,) = world.ask("SELECT number FROM projection.versions WHERE name = 'promises' AND live")
    other = world.connection_of_tuples()
    with browsing(world) as browser, ThreadPoolExecutor(CROWD) as asking:
        with other.transaction():
            other.execute(f"LOCK TABLE read_promises_v{live['number']}.promises".encode())
            crowd = [asking.submit(browser.get, "/console/list/outstanding") for _ in range(CROWD)]
            wait_for(lambda: len(world.ask("SELECT FROM pg_locks WHERE NOT granted")) >= 4)
            time.sleep(0.5)  # all of them have asked
            begun = time.monotonic()
            for path in ("/health", "/checkpoint", "/tile/0/000.p/1"):
                browser.get(path, token=None)
            assert time.monotonic() - begun < 2
        answers = [answer.result() for answer in crowd]
        assert [answer.status for answer in answers].count(200) >= POOL_SIZE + WAITING
        assert {answer.status for answer in answers} == {200, 503}
        assert all(b"Too many ask at once" in answer.body for answer in answers if answer.status == 503)
        assert browser.get("/console/list/outstanding").status == 200
