"""What somebody else's machine said, made fit for terminals, logs, health and the database."""


def printable(text: str) -> str:
    """`text` with a space for each character that is none to read: NUL, which PostgreSQL does not store, ESC, …"""
    return "".join(each if each.isprintable() else " " for each in text).strip()
