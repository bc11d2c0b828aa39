"""A `promise-ledger up` of a test's own, as an operator starts it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.up import healthy
from tests.conftest import new_data_dir, remove

START_SECONDS = 60.0


class Up:
    """A running `promise-ledger up` over `data_dir`."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.errors, self.output = data_dir.with_name("errors"), data_dir.with_name("output")
        command = [sys.executable, "-m", "deploy.cli", "up", "--nats-port", "0", "--http-port", "0"]
        with self.errors.open("wb") as errors, self.output.open("wb") as output:
            self.process = subprocess.Popen([*command, "--data-dir", data_dir, *options], stdout=output, stderr=errors)
        try:
            self.until(lambda: "ready:" in self.errors.read_text())
        except BaseException:
            self.kill()
            raise

    def until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not reached():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.05)

    def children(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def healthy(self) -> bool:
        where = json.loads((self.data_dir / "run.json").read_text())
        return healthy(int(where["http_url"].rsplit(":", 1)[1]))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def running(*options: str) -> Iterator[Up]:
    """One over a new data directory; afterwards neither is there any more, whether or not it was stopped."""
    directory = new_data_dir()
    try:
        up = Up(directory / "home", *options)
        try:
            yield up
        finally:
            up.kill()
    finally:
        remove(directory)
