"""The few strict readings that all formats here share: text, decimals, base64. None of them raises."""

from base64 import b64encode
from binascii import a2b_base64
from re import ASCII, compile

from ledger.tlog.merkle import MAX_SIZE

_DECIMAL = compile(r"0|[1-9][0-9]{0,18}", ASCII)


def text_of(data: object, limit: int) -> str | None:
    """Return `data` (str, or bytes in UTF-8) as text, or None where it is neither or longer than `limit` bytes.

    Exact types: a subclass may say that it equals, or splits into, anything.
    """
    try:
        if type(data) is str and len(data) <= limit and len(data.encode()) <= limit:
            return data
        if type(data) is bytes and len(data) <= limit:
            return data.decode()
    except UnicodeError:
        return None
    return None


def number_of(text: str) -> int | None:
    """Return the decimal `text` ("0", "17"; no sign, no leading zero, ASCII, at most 2^63 - 1), or None."""
    if _DECIMAL.fullmatch(text) is None or int(text) > MAX_SIZE:
        return None
    return int(text)


def base64_of(text: str) -> bytes | None:
    """Return what `text` encodes (RFC 4648 section 4, padded, no stray bits or characters), or None."""
    try:
        data = a2b_base64(text)
    except ValueError:
        return None
    return data if to_base64(data) == text else None


def hash_of(text: object) -> bytes | None:
    """Return the 32 bytes that `text` encodes in base64, or None."""
    data = base64_of(text) if type(text) is str and len(text) == 44 else None
    return data if data is not None and len(data) == 32 else None


def to_base64(data: bytes) -> str:
    """Return `data` in base64."""
    return b64encode(data).decode()
