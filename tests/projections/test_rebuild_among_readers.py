"""Whoever reads several views in one transaction, as a page of the console does, costs a rebuild nothing but time."""

from concurrent.futures import ThreadPoolExecutor

from projections.runner import rebuild
from tests.projections.world import World, wait_for


def test_a_reader_that_is_met_halfway_does_not_end_a_rebuild(world: World) -> None:
    world.make(1)
    world.catch_up()
    reader = world.connection_of_tuples()
    reader.execute("SET deadlock_timeout = '1min'")  # so that it is not the reader that PostgreSQL ends
    with ThreadPoolExecutor(1) as working:
        with reader.transaction():
            reader.execute("SELECT FROM audit.promise_history")
            rebuilding = working.submit(rebuild, world.url, world.secrets, "promises")
            wait_for(lambda: world.ask("SELECT FROM pg_locks WHERE NOT granted") != [])
            reader.execute("SELECT FROM audit.promises")
        assert rebuilding.result() == 2
    assert [row["promise_id"] for row in world.ask("SELECT promise_id FROM audit.outstanding_promises")] == ["P-1"]
