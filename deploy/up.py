"""`promise-ledger up`: one supervisor over PostgreSQL, NATS, intake (with the timer), projections (with HTTP), relay.

What dies is started again. Stopping goes from the outside in: the services finish their batch, then NATS, then
PostgreSQL. A kill -9 of the supervisor takes everything along (see `deploy.process.spawn`), and loses nothing.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from deploy.console import http_url, make_token
from deploy.embedded import Nats, Postgres, free_port
from deploy.migrating import make_ready
from deploy.places import SetupError, hold, prepare
from deploy.process import Part, spawn, stop, wait_until
from ledger.settings import Settings

HEALTHY_SECONDS = 60.0
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15.0
STEADY_SECONDS = 60.0
"""After running so long a part's next failure counts as its first."""
SERVICES = {"intake": "ledger_appender", "projections": "ledger_projector", "relay": "ledger_relay"}
"""Each service and the database role that it runs as."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Service:
    """`promise-ledger serve NAME` as a child process."""

    name: str
    data_dir: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.data_dir / f"log/{self.name}.log"

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> str:
        # -P: a directory named `deploy` where the operator happens to be is not ours
        self.process = spawn(
            [sys.executable, "-P", "-m", "deploy.cli", "serve", self.name],
            log=self.log,
            death_signal=signal.SIGKILL,
            environment=self.environment,
            directory=Path.cwd(),
        )
        return self.name

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self) -> None:
        """It has ended, after its batch in hand where that takes less than 30 seconds."""
        stop(self.process, (signal.SIGTERM, 30.0))


@dataclass
class Watched:
    """One part and when it may be started again: at once, then ever later up to `LAST_RETRY_SECONDS`."""

    part: Part
    started_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    retry_at: float | None = None

    def look(self, now: float) -> None:
        if self.part.running():
            return
        if self.retry_at is None:
            self.failures = 1 if now - self.started_at > STEADY_SECONDS else self.failures + 1
            delay = min(FIRST_RETRY_SECONDS * 2 ** (self.failures - 1), LAST_RETRY_SECONDS)
            self.retry_at = now + delay
            say(f"{self.part.name} ended unexpectedly, starting it again in {delay:g} s (see {self.part.log})")
        if now >= self.retry_at:
            self.retry_at, self.started_at = None, now
            try:
                self.part.start()
            except (SetupError, OSError) as error:
                say(str(error))


def up(settings: Settings, *, nats_port: int = 4222, demo: bool = False) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; the exit code. `SetupError` and others where it cannot start here."""
    for number in _STOPPING:
        signal.signal(number, signal.default_int_handler)
    data_dir = prepare(settings.data_dir)
    parts: list[Part] = []
    with hold(data_dir):
        try:
            settings = _start(settings.model_copy(update={"data_dir": data_dir}), nats_port, parts)
            at = f"queue at {settings.broker_url}, {http_url(settings)}"
            say(f"ready: data in {data_dir}, {at} (pages: `promise-ledger console`)")
            if demo:
                threading.Thread(target=_play, args=[settings], daemon=True).start()
            _watch(parts)
        except KeyboardInterrupt:
            say("stopping")
            return 0
        finally:
            _stop(data_dir, parts)


def _start(settings: Settings, nats_port: int, parts: list[Part]) -> Settings:
    """Everything runs; the settings that say where. What was started is in `parts`, in order.

    A ledger that runs but does not get on (a projection stopped at a poison event) must stay up to be mended.
    """
    data_dir = settings.data_dir
    http_port = free_port(settings.http_port, "--http-port")
    postgres, nats = Postgres(data_dir), Nats(data_dir, nats_port)
    for server in (postgres, nats):
        parts.append(server)
        server.start()
    where = {"database_url": postgres.url, "broker_url": nats.url, "http_port": http_port}
    settings = settings.model_copy(update=where)
    for _ in make_ready(settings):
        pass
    try:
        make_token(settings)
    except SetupError as error:  # nobody reads pages until it is mended, and nothing else waits for that
        say(str(error))
    _write_run_file(settings)
    environment = os.environ | {
        "LEDGER_DATA_DIR": str(data_dir),
        "LEDGER_ERASER_URL": postgres.url_as("ledger_eraser"),
        "LEDGER_BROKER_URL": nats.url,
        "LEDGER_HTTP_PORT": str(http_port),
        "LEDGER_ORIGIN": settings.origin,
        "PYTHONUNBUFFERED": "1",
    }
    services = [
        Service(name, data_dir, _spared(name, environment) | {"LEDGER_DATABASE_URL": postgres.url_as(role)})
        for name, role in SERVICES.items()
    ]
    for service in services:
        parts.append(service)
        service.start()
    deadline = time.monotonic() + HEALTHY_SECONDS
    wait_until(lambda: healthy(http_port) or time.monotonic() > deadline, *services, seconds=2 * HEALTHY_SECONDS)
    if not healthy(http_port):
        say("everything runs, but something does not get on: ask `promise-ledger health`")
    return settings


def _spared(name: str, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a service: for the relay, which signs and opens nothing, without the log's secrets; the
    console's token for who serves it."""
    kept = [*(["LEDGER_KEY_"] if name == "relay" else []), *(["LEDGER_CONSOLE_TOKEN"] if name != "projections" else [])]
    return {variable: value for variable, value in environment.items() if not variable.startswith(tuple(kept))}


def _watch(parts: Sequence[Part]) -> NoReturn:
    watched = [Watched(part) for part in parts]
    while True:
        for each in watched:
            each.look(time.monotonic())
        time.sleep(0.2)


def _stop(data_dir: Path, parts: Sequence[Part]) -> None:
    """No process is left. A second signal does not interrupt this: every wait in it is bounded."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    (data_dir / "run.json").unlink(missing_ok=True)
    for part in parts:
        if isinstance(part, Service):
            part.ask_to_stop()
    for part in reversed(parts):
        part.stop()


def _play(settings: Settings) -> None:
    from deploy.demo import play

    try:
        play(settings)
    except Exception as error:  # the ledger runs on; the demo's failure is told, not hidden
        say(f"the demo failed: {type(error).__name__}: {error}")


def _write_run_file(settings: Settings) -> None:
    """Where commands of the same directory find this ledger, whole or not at all."""
    content = {
        "database_url": settings.database_url,
        "broker_url": settings.broker_url,
        "http_url": http_url(settings),
        "pid": os.getpid(),
    }
    fresh = settings.data_dir / "run.json.new"
    fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fresh.replace(settings.data_dir / "run.json")


def healthy(http_port: int) -> bool:
    """Whether `/health` answers 200, asked without any proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def say(sentence: str) -> None:
    print(f"promise-ledger: {sentence}", file=sys.stderr, flush=True)
