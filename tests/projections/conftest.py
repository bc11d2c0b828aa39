"""A ledger with its read side, for every test of a projection."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.projections.world import World, tell_something_of_everything
from tests.storage.log import copied


@pytest.fixture
def world(readable: str, data_dir: Path) -> Iterator[World]:
    world = World(readable, data_dir)
    yield world
    world.close()


@pytest.fixture(scope="module")
def shared_world(
    postgres_url: str, _readable_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A ledger with its read side, one a module: whoever changes it puts it back."""
    template = urlsplit(postgres_url)._replace(path=f"/{_readable_template}").geturl()
    with copied(template, "ledger_shared") as url:
        world = World(url, tmp_path_factory.mktemp("shared"))
        yield world
        world.close()


@pytest.fixture(scope="module")
def everything(shared_world: World) -> World:
    """One in which no read table is empty."""
    tell_something_of_everything(shared_world)
    return shared_world
