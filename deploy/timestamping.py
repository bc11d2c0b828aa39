"""Anchoring: the newest checkpoint that is published is stamped by a timestamp authority (RFC 3161), now and then.

Crash before the row is stored: the next round asks again. A stamp is stored only once it is verified, so that a wrong
certificate shows at once and not in court.
"""

import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request

import psycopg
import structlog
from cryptography.x509 import Certificate
from psycopg.rows import tuple_row

from deploy.foreign import beginning, opened, printable
from deploy.places import SetupError
from ledger.lasting import Lasting
from ledger.settings import Settings
from ledger.storage.sql import QUERIES
from ledger.timestamps import MAX_RESPONSE, BadTimestamp, certificates, request_for, stamped_at
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Note
from ledger.tlog.policy import Policy
from projections.site import Damaged, Site

SECONDS = 30.0
MAX_ROOTS = 2**20
LOOK_SECONDS = 5.0
RETRY_SECONDS = 60.0

_log = structlog.get_logger("timestamps")


@dataclass(slots=True)
class Anchor:
    """Stamps the checkpoints of the log in the database at `url`. `round` is for one thread."""

    url: str
    authority: str
    roots: list[Certificate]
    every: timedelta
    site: Site
    """Only what it publishes is stamped: where witnesses are asked for, what enough of them have cosigned."""
    failure: str | None = None
    stamped_size: int = 0
    gen_time: datetime | None = None

    def round(self, now: datetime) -> bool:
        """Whether a checkpoint was stamped: when one is newer than the last stamped and that is long enough ago.

        Raises psycopg.Error where the database is away, Damaged where the newest row is no checkpoint, BadTimestamp,
        OSError and HTTPException for the authority.
        """
        with closing(psycopg.connect(self.url, autocommit=True, row_factory=tuple_row, connect_timeout=5)) as database:
            note = self.site.checkpoint(database.cursor())
            last = database.execute(QUERIES["last_timestamp"]).fetchone()
            self.stamped_size = 0 if last is None else last[0]
            if note is None:
                return False
            text = Note.parse(note).text
            size = Checkpoint.parse(text).size
            if size <= self.stamped_size or (last is not None and timedelta(0) <= now - last[1] < self.every):
                return False
            request = request_for(text)
            response = _post(self.authority, request.as_bytes())
            self.gen_time = stamped_at(response, text, self.roots, request=request)
            row = {"size": size, "note": note.decode(), "response": response, "stored_at": now}
            database.execute(QUERIES["store_timestamp"], row)
        self.stamped_size = size
        return True

    def detail(self) -> dict[str, Any]:
        """What health shows."""
        return {
            "stamped_size": self.stamped_size,
            "stamped_at": None if self.gen_time is None else self.gen_time.isoformat(),
            "failure": self.failure,
        }


def anchor_of(settings: Settings, policy: Policy | None = None) -> Anchor | None:
    """What the settings ask for, for a log that publishes under `policy`, None where no authority is named.

    Raises SetupError with what to do.
    """
    if settings.timestamp_url is None:
        return None
    assert settings.database_url is not None
    if not settings.timestamp_url.startswith(("http://", "https://")):
        raise SetupError(f"LEDGER_TIMESTAMP_URL is {settings.timestamp_url}: give an address, http://… or https://…")
    if settings.timestamp_roots is None:
        raise SetupError("LEDGER_TIMESTAMP_ROOTS must name a PEM file with the timestamp authority's root certificate")
    return Anchor(
        settings.database_url,
        settings.timestamp_url,
        read_roots(settings.timestamp_roots),
        timedelta(seconds=settings.timestamp_seconds),
        Site(policy),
    )


def read_roots(path: Path) -> list[Certificate]:
    """The root certificates in a PEM file. Raises SetupError."""
    try:
        content = beginning(path, MAX_ROOTS)
        if len(content) > MAX_ROOTS:
            raise BadTimestamp(f"it is larger than {MAX_ROOTS} bytes")
        return certificates(content)
    except (OSError, BadTimestamp) as error:
        raise SetupError(f"{path} holds no certificates of a timestamp authority: {error}") from error


def keep_stamping(anchor: Anchor, stop: threading.Event) -> None:
    """Look now and then until `stop` is set; what fails is tried again a minute later."""
    failing = Lasting(_log, "no timestamp")
    while not stop.is_set():
        try:
            anchor.round(datetime.now(UTC))
            anchor.failure = None
            failing.went_well()
        except psycopg.Error as error:
            reason = str(error).strip().split("\n")[0]
            failing.failed(f"the database is away: {reason}")
        except Damaged as error:  # a row that nobody of ours wrote; once it is gone, this goes on
            anchor.failure = str(error)
            failing.failed(anchor.failure)
        except (BadTimestamp, TlogError, OSError, HTTPException) as error:
            anchor.failure = printable(f"{anchor.authority} gives no timestamp: {error}")
            failing.failed(anchor.failure)
            stop.wait(RETRY_SECONDS)
        stop.wait(LOOK_SECONDS)


def _post(url: str, body: bytes) -> bytes:
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    try:
        with opened(Request(url, body, headers), SECONDS) as answer:
            return answer.read(MAX_RESPONSE + 1)
    except ValueError as error:  # a redirect to what is no address
        raise OSError(f"{url}: {error}") from error
