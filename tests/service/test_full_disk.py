"""The disk of the whole service becomes full under load: nothing answered is lost, and it goes on by itself."""

import asyncio
import threading
from collections.abc import Iterator

import nats
import psycopg
import pytest

from consumers.recording import LineAnswer, record_file
from deploy.embedded import Postgres
from deploy.finding import located
from deploy.places import SetupError
from deploy.process import wait_until
from tests.service.full import Disk
from tests.service.running import Up
from tests.service.test_kill import check_all_there_once, line


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


def complained(up: Up, part: str) -> bool:
    return b"o space left on device" in (up.data_dir / f"log/{part}.log").read_bytes()


async def refused_by_nats(up: Up) -> bool:
    """Whether the stream of commands has met the end of the disk; what is sent here is no command, and needs room."""
    connection = await nats.connect(located(up.data_dir).broker_url)
    for _ in range(100):
        await connection.publish("ledger.commands.none", bytes(1_000))
    await connection.close()
    return complained(up, "nats")


def test_a_full_disk_stops_the_service_and_room_starts_it_again(disk: Disk, up: Up) -> None:
    sent: list[bytes] = []
    answers: list[LineAnswer] = []
    enough = threading.Event()

    def commands() -> Iterator[bytes]:
        """A trickle of them, for as long as the disk is not full."""
        while not enough.wait(0.1):
            for _ in range(50):
                sent.append(line(len(sent)))
                yield sent[-1]

    def send() -> None:
        answers.extend(record_file(located(up.data_dir).broker_url, commands(), window=200))

    (sender := threading.Thread(target=send)).start()
    try:
        up.until(lambda: recorded(up) > 0)
        disk.fill()
        up.until(lambda: asyncio.run(refused_by_nats(up)))
        up.until(lambda: complained(up, "postgres") or not up.healthy())
    finally:
        disk.clear()
        enough.set()
    sender.join(120)
    assert not sender.is_alive(), "the sender still waits for answers"
    up.until(up.healthy)
    check_all_there_once(up, answers, range(len(sent)))


def test_what_does_not_start_on_a_full_disk_says_that_it_is_full(disk: Disk) -> None:
    """PostgreSQL's last line is then that it is shut down."""
    server = Postgres(disk.path / "home")
    server.log.parent.mkdir(parents=True)
    server.log.write_text("LOG:  database system is shut down\n")
    with pytest.raises(SetupError, match="PostgreSQL did not start: LOG:  database system is shut down"):
        wait_until(lambda: False, server, seconds=10)
    disk.fill()
    with pytest.raises(SetupError, match="PostgreSQL did not start: No space left on device: LOG"):
        wait_until(lambda: False, server, seconds=10)
