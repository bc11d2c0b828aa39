"""What somebody else said, made fit for terminals, logs, health and the database."""

from pathlib import Path


def printable(text: str) -> str:
    """`text` with a space for each character that is none to read: NUL, which PostgreSQL does not store, ESC, …"""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def beginning(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of the file, and one more where there are more, so that no parser takes it for whole."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def harmless(text: str) -> str:
    """`text` with each character spelled out that would steer a terminal, or turn round what stands beside it."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
