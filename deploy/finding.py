"""Where the ledger is that a command talks to: the running `up` of a data directory, or what the environment says."""

import json
from pathlib import Path

from pydantic import ValidationError

from deploy.places import SetupError
from ledger.settings import Settings


class WrongSetting(Exception):
    """A variable LEDGER_… has a value that it cannot have; the message never repeats it: it may be a secret."""


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
    if found is None:
        raise SetupError(
            f"no ledger runs in {settings.data_dir}: start one with `promise-ledger up`, name another directory with "
            f"--data-dir, or set LEDGER_DATABASE_URL{' and LEDGER_BROKER_URL' if broker else ''}"
        )
    return settings.model_copy(
        update={
            "database_url": settings.database_url or found["database_url"],
            "broker_url": settings.broker_url or found["broker_url"],
        }
    )


def running(data_dir: Path) -> dict[str, str] | None:
    """What the run.json of a running `up` says, None where there is none."""
    try:
        found = json.loads((data_dir / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except ValueError as error:
        raise SetupError(f"{data_dir / 'run.json'} is damaged: stop and start `promise-ledger up`") from error
    return {name: str(value) for name, value in found.items()}
