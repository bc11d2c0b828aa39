"""What somebody else said, made fit for terminals, logs, health and the database."""


def printable(text: str) -> str:
    """`text` with a space for each character that is none to read: NUL, which PostgreSQL does not store, ESC, …"""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def harmless(text: str) -> str:
    """`text` with each character spelled out that would steer a terminal, or turn round what stands beside it."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
