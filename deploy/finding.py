"""Where the ledger is that a command talks to: the running `up` of a data directory, or what the environment says."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from deploy.places import COMMAND, InUse, SetupError, held, hold, user_name
from ledger.settings import Settings


class WrongSetting(Exception):
    """A variable LEDGER_… has a value that it cannot have; the message never repeats it: it may be a secret."""


class NoQueue(SetupError):
    """The database is known and the queue is not."""


def settings_for(data_dir: Path | None = None, **overrides: object) -> Settings:
    """The settings of this command: environment first, `--data-dir` above it. Raises WrongSetting."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if data_dir is not None:
        given["data_dir"] = data_dir
    try:
        return Settings().model_copy(update=given)
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        raise WrongSetting(f"LEDGER_{str(wrong['loc'][0]).upper()} cannot be read: {wrong['msg']}") from None


def located(data_dir: Path | None = None, *, broker: bool = True) -> Settings:
    """As `settings_for`, with the addresses of the database and, where `broker` is wanted, of the queue.

    Raises SetupError where nothing says them.
    """
    settings = settings_for(data_dir)
    if settings.database_url is not None and (settings.broker_url is not None or not broker):
        return settings
    found = running(settings.data_dir)
    if found is None and settings.database_url is not None:
        raise NoQueue(
            "LEDGER_DATABASE_URL names a database, and nothing names its queue: set LEDGER_BROKER_URL as well"
        )
    if found is None:
        variables = f"LEDGER_DATABASE_URL{' and LEDGER_BROKER_URL' if broker else ''}"
        raise _nowhere(settings.data_dir, f"name another directory with --data-dir, or set {variables}")
    return settings.model_copy(
        update={
            "database_url": settings.database_url or found["database_url"],
            "broker_url": settings.broker_url or found["broker_url"],
        }
    )


def _nowhere(data_dir: Path, elsewhere: str) -> SetupError:
    """Why no ledger is to be found in `data_dir`, and what to do."""
    try:
        for name in ("run.json", "lock"):
            with suppress(FileNotFoundError, NotADirectoryError), (data_dir / name).open():
                pass
    except PermissionError:
        return SetupError(f"{data_dir} cannot be read: {_owner(data_dir)}. Run this as that user, {elsewhere}")
    found = held(data_dir)
    if found is None:
        return SetupError(f"no ledger runs in {data_dir}: start one with `promise-ledger up`, {elsewhere}")
    return found if found.by_command else _on_its_way(data_dir, found)


def _on_its_way(data_dir: Path, found: InUse) -> SetupError:
    up = f"`promise-ledger up` (process {found.process})"
    return SetupError(f"{up} starts or ends in {data_dir}: try again in a moment")


def _owner(data_dir: Path) -> str:
    """Whose it is: the directory itself, or the one above it that lets nobody look."""
    for place in (data_dir, *data_dir.absolute().parents):
        with suppress(PermissionError):
            return f"{'it' if place == data_dir else place} belongs to the user {user_name(place.stat().st_uid)}"
    raise AssertionError("everybody may look at /")


@contextmanager
def at_hand(data_dir: Path | None = None, *, broker: bool = False) -> Iterator[Settings]:
    """As `located`; where no `up` runs in the data directory, its own servers do until this block ends.

    So what a refusing `up` tells an operator to run can be run. No `up` starts meanwhile. Whatever kills this process
    stops the servers too (see `deploy.process.spawn`). Raises SetupError as `located` and the servers do.
    """
    settings = settings_for(data_dir)
    embedded = settings.database_url is None and os.path.lexists(settings.data_dir / "postgres")
    lock = _unless_running(settings.data_dir) if embedded else None
    if lock is None:
        yield located(data_dir, broker=broker)
        return
    with lock, _served(settings, broker=broker and settings.broker_url is None) as served:
        yield served


def _unless_running(data_dir: Path) -> IO[str] | None:
    """The lock of `data_dir`, None where an `up` has it and says where it is. Raises SetupError where it does not."""
    try:
        lock = hold(data_dir, COMMAND)
    except PermissionError:
        return None
    except InUse as found:
        if found.by_command:
            raise
        if running(data_dir) is None:
            raise _on_its_way(data_dir, found) from None
        return None
    (data_dir / "run.json").unlink(missing_ok=True)  # of an `up` that was killed: what it says is there no more
    return lock


@contextmanager
def _served(settings: Settings, *, broker: bool) -> Iterator[Settings]:
    """The settings with the addresses of the embedded servers, which run until the block ends."""
    from deploy.embedded import Nats, Postgres

    print(f"promise-ledger: no `up` runs in {settings.data_dir}: its servers run for this command", file=sys.stderr)
    postgres, nats = Postgres(settings.data_dir), Nats(settings.data_dir, None)
    try:
        update = {"database_url": postgres.start()}
        if broker:
            update["broker_url"] = nats.start()
        yield settings.model_copy(update=update)
    finally:
        try:
            nats.stop()
        finally:
            postgres.stop()


def running(data_dir: Path) -> dict[str, str] | None:
    """What the run.json of a running `up` says, None where there is none."""
    try:
        found = json.loads((data_dir / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except ValueError as error:
        raise SetupError(f"{data_dir / 'run.json'} is damaged: stop and start `promise-ledger up`") from error
    return {name: str(value) for name, value in found.items()}
