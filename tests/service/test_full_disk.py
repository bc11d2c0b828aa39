"""The disk of the whole service becomes full under load: nothing answered is lost, and it goes on by itself."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from consumers.client import LineAnswer
from deploy.finding import located
from tests.service.full import Disk
from tests.service.running import Up
from tests.service.test_kill import check_all_there_once, send

COMMANDS = 500


@pytest.fixture
def up(disk: Disk) -> Iterator[Up]:
    up = Up(disk.path / "home")
    try:
        yield up
    finally:
        disk.clear()
        assert up.stop() == 0


def recorded(up: Up) -> int:
    with psycopg.connect(located(up.data_dir).database_url or "") as connection:
        row = connection.execute("SELECT size FROM ledger.head").fetchone()
    assert row is not None
    return int(row[0])


def test_a_full_disk_stops_the_service_and_room_starts_it_again(disk: Disk, up: Up) -> None:
    answers: list[LineAnswer] = []
    sender = threading.Thread(target=send, args=(located(up.data_dir).broker_url, answers, COMMANDS))
    sender.start()
    up.until(lambda: recorded(up) > 0)
    disk.fill()
    full = b"No space left on device"
    up.until(lambda: full in (up.data_dir / "log/postgres.log").read_bytes())
    up.until(lambda: not up.healthy())
    disk.clear()
    sender.join(120)
    assert not sender.is_alive(), "the sender still waits for answers"
    up.until(up.healthy)
    check_all_there_once(up, answers, COMMANDS)
