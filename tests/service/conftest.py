"""Fixtures of the tests of whole services."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import new_data_dir
from tests.service.full import Disk


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A file system of a test's own, where PostgreSQL's user may pass too."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system to fill")
    directory = new_data_dir()
    try:
        disk = Disk(directory)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no file system may be mounted here: {error.stderr.decode().strip()}")
    yield disk
    disk.remove()
    directory.rmdir()
