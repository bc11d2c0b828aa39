"""What somebody else says, read within its time and made fit for terminals, logs, health and the database."""

import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse
from io import BufferedReader, RawIOBase
from pathlib import Path
from socket import socket
from typing import Any
from urllib.request import (
    AbstractHTTPHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)


def printable(text: str) -> str:
    """`text` with a space for each character that is none to read: NUL, which PostgreSQL does not store, ESC, …"""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def beginning(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of the file, and one more where there are more, so that no parser takes it for whole."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def opened(request: str | Request, seconds: float) -> HTTPResponse:
    """What an http:// or https:// address answers; all of it is read within so many seconds, or TimeoutError is raised.

    The timeout of a socket begins anew with every byte, also between those of a header. Raises OSError (HTTPError where
    it answers with one), HTTPException and, where it is no address, ValueError.
    """
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPDefaultErrorHandler(),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
        _Http(seconds),
        _Https(seconds),
    ):
        opener.add_handler(handler)
    answer = opener.open(request, timeout=seconds)
    assert isinstance(answer, HTTPResponse)
    return answer


class _Until(RawIOBase):
    """The `file` of a socket for so many `seconds`, which end at a moment of the monotonic clock."""

    def __init__(self, file: BufferedReader, connected: socket, seconds: float, end: float) -> None:
        self._file, self._socket, self._seconds, self._end = file, connected, seconds, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        try:
            if (left := self._end - time.monotonic()) <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            return self._file.raw.readinto(buffer)
        except TimeoutError as error:
            raise TimeoutError(f"it takes longer than {self._seconds:g} s to answer") from error

    def close(self) -> None:
        self._file.close()
        super().close()


class _Handler(AbstractHTTPHandler):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def do_open(self, http_class: Callable[..., HTTPConnection], req: Request, **arguments: Any) -> HTTPResponse:
        def connection(*given: Any, **named: Any) -> HTTPConnection:
            made = http_class(*given, **named)
            vars(made)["response_class"] = answer
            return made

        def answer(connected: socket, *given: Any, **named: Any) -> HTTPResponse:
            made = HTTPResponse(connected, *given, **named)
            made.fp = BufferedReader(_Until(made.fp, connected, self._seconds, self._end))
            return made

        return super().do_open(connection, req, **arguments)


class _Http(_Handler, HTTPHandler):
    pass


class _Https(_Handler, HTTPSHandler):
    pass


def harmless(text: str) -> str:
    """`text` with each character spelled out that would steer a terminal, or turn round what stands beside it."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
