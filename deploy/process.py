"""Child processes that never outlive us, and how their logs are read."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from deploy.places import ServerUser, SetupError


class Part(Protocol):
    """What a supervisor keeps running: `deploy.embedded`'s servers and the services of `deploy.up`."""

    @property
    def name(self) -> str: ...
    @property
    def log(self) -> Path: ...
    def start(self) -> str: ...
    def running(self) -> bool: ...
    def stop(self) -> None: ...


PR_SET_PDEATHSIG = 1
LOG_LIMIT_BYTES = 20_000_000
ROOM_BYTES = 16 * 2**20
"""A segment of PostgreSQL's WAL: with less it does not start."""
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    death_signal: signal.Signals,
    environment: Mapping[str, str],
    directory: Path,
    user: ServerUser | None = None,
) -> subprocess.Popen[bytes]:
    """A child in a session of its own (Ctrl-C reaches only us), which gets `death_signal` when we die.

    Its output is appended to `log`. Linux counts the death of the *thread* that calls this: call it from the main one.
    """
    log.parent.mkdir(mode=0o700, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        return subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            preexec_fn=_die_with(os.getpid(), death_signal),
        )


def _die_with(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    def in_the_child() -> None:  # after the change of user, which would clear the death signal
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # died before we asked
                os._exit(1)

    return in_the_child


def stop(process: subprocess.Popen[bytes] | None, *steps: tuple[signal.Signals, float]) -> None:
    """`process` has ended: each (signal, seconds to wait) in turn, and SIGKILL after the last."""
    if process is None:
        return
    for step, seconds in (*steps, (signal.SIGKILL, 10.0)):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(step)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def wait_until(ready: Callable[[], bool], *parts: Part, seconds: float) -> None:
    """Returns once `ready()`. `SetupError`, quoting the log, where one of `parts` ends or time runs out first."""
    deadline = time.monotonic() + seconds
    while not ready():
        for part in parts:
            if not part.running():
                raise SetupError(f"{part.name} did not start: {_reason(part.log)} (see {part.log})")
        if time.monotonic() > deadline:
            last = parts[-1]
            raise SetupError(
                f"{last.name} was not ready in {seconds:.0f} seconds: {last_line(last.log)} (see {last.log})"
            )
        time.sleep(0.02)


def wait_for_leftover(pid_file: Path, directory: Path, *, name: str, seconds: float = 20.0) -> None:
    """Returns once no server of an earlier run works in `directory` any more; a stale `pid_file` is gone then.

    After a kill -9 of its parent a server takes a moment to end. A process is recognised by its working directory,
    since process ids are used again. `SetupError` where it goes on.
    """
    deadline = time.monotonic() + seconds
    while pid := _pid_in(pid_file, directory):
        if time.monotonic() > deadline:
            raise SetupError(f"{name} is already running on {directory} (process {pid}): stop it first.")
        time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def _pid_in(pid_file: Path, directory: Path) -> int | None:
    try:
        pid = int(pid_file.read_bytes().split(maxsplit=1)[0])
        return pid if Path(f"/proc/{pid}/cwd").resolve(strict=True) == directory.resolve() else None
    except (OSError, ValueError, IndexError):
        return None


def _reason(log: Path) -> str:
    """What `log` says last, and before it that its disk is full where it is: PostgreSQL says that some lines before."""
    room = shutil.disk_usage(log.parent).free
    return f"No space left on device: {last_line(log)}" if room < ROOM_BYTES else last_line(log)


def last_line(log: Path) -> str:
    """The last line that says something in `log`, at most 300 characters of it."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
        for line in reversed(file.read().decode("utf-8", "replace").splitlines()):
            if line.strip():
                return line.strip()[-300:]
    return "it left no message"
