"""Who may read the console: whoever has its token, for its pages show words, and the log over HTTP shows none.

A browser shows the token once and has a cookie from then on that is made from it: another token ends every session.
Whatever stands in front and knows people by name may send `Authorization: Bearer` instead.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

COOKIE: Final = "promise-ledger-console"
Token = Callable[[], str | None]
"""The token as it is now; None where there is none, and nobody is let in."""


class Access:
    """Lets in who shows the token, or the cookie that is made from it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    @property
    def open(self) -> bool:
        """Whether there is a token at all."""
        return self._token() is not None

    def enter(self, shown: str) -> str | None:
        """The cookie for who shows the token; None for whoever shows another."""
        token = self._token()
        return _session(token) if token is not None and _same(shown.strip(), token) else None

    def allows(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether a request with these may read."""
        token = self._token()
        if token is None:
            return False
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer" and _same(shown.strip(), token)
        return bearer or _same(cookies.get(COOKIE, ""), _session(token))


def password_in(headers: Mapping[str, str]) -> str:
    """The password of Basic authentication (RFC 7617), whoever the user is; empty where there is none."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(shown.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _session(token: str) -> str:
    return hmac.digest(token.encode(), b"promise-ledger console", hashlib.sha256).hex()


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode(errors="replace"), expected.encode())
