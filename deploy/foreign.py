"""What somebody else said, made fit for terminals, logs, health and the database."""

import time
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError


def printable(text: str) -> str:
    """`text` with a space for each character that is none to read: NUL, which PostgreSQL does not store, ESC, …"""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def beginning(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of the file, and one more where there are more, so that no parser takes it for whole."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def read_within(answer: HTTPResponse | HTTPError, limit: int, seconds: float) -> bytes:
    """At most `limit` bytes of an answer, and one more where there are more. Raises TimeoutError where they take longer
    than so many seconds: what a socket is given begins anew with every byte.
    """
    until, body = time.monotonic() + seconds, bytearray()
    while len(body) <= limit and (piece := answer.read1(limit + 1 - len(body))):
        body += piece
        if time.monotonic() > until:
            raise TimeoutError(f"it takes longer than {seconds:g} s to answer")
    return bytes(body)


def harmless(text: str) -> str:
    """`text` with each character spelled out that would steer a terminal, or turn round what stands beside it."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
