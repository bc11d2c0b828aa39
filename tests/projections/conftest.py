"""A ledger with its read side, for every test of a projection."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projections.world import World


@pytest.fixture
def world(readable: str, data_dir: Path) -> Iterator[World]:
    world = World(readable, data_dir)
    yield world
    world.close()
