"""The token of the console: in LEDGER_CONSOLE_TOKEN, or in a file of the data directory that `up` makes."""

import os
import secrets
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deploy.places import SetupError
from ledger.settings import Settings

FILE: Final = "console-token"
MIN_TOKEN: Final = 32
"""Characters: what somebody makes up is guessed, what `openssl rand -hex 32` makes is not."""


def token_of(settings: Settings) -> str | None:
    """The token of this host's console, None where it has none. Raises SetupError where it cannot be used."""
    given, path = settings.console_token, settings.data_dir / FILE
    token = _filed(path) if given is None else given.get_secret_value().strip()
    if token is not None and not (len(token) >= MIN_TOKEN and token.isascii() and token.isprintable()):
        raise SetupError(
            f"{path if given is None else 'LEDGER_CONSOLE_TOKEN'} holds no token: put {MIN_TOKEN} or more letters and "
            "digits there (`openssl rand -hex 32`)"
        )
    return token


def console_address(settings: Settings, at: str) -> str:
    """Where whoever opens it is let in, of the console at `at`; a token is made where there is none."""
    return f"{at}/console/enter?token={quote(make_token(settings), safe='')}"


def make_token(settings: Settings, *, anew: bool = False) -> str:
    """The token, made where there is none, or where another one is wanted. Raises SetupError."""
    if anew and settings.console_token is not None:
        raise SetupError("the token is LEDGER_CONSOLE_TOKEN: put another one there and start the services anew")
    token = None if anew else token_of(settings)
    if token is None:
        token, path = secrets.token_urlsafe(32), settings.data_dir / FILE
        fresh = path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(f"{token}\n")
                if os.geteuid() == 0:  # who serves the console reads it, and that is who owns the directory
                    owner = path.parent.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            fresh.replace(path)
        except OSError as error:
            raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    return token


def _filed(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(1024).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise SetupError(f"{path} is readable for others (mode {mode & 0o777:03o}): chmod 600 it")
    return token


def http_url(settings: Settings) -> str:
    """Where HTTP is answered on this machine."""
    return f"http://127.0.0.1:{settings.http_port}"
