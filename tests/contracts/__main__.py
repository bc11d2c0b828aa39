"""Write what is kept as files: `schemas` (rewritten) or `entries` (only added to)."""

import sys

import orjson

from ledger.domain.dispatch import EVENTS
from ledger.storage.entries import decode
from tests.contracts.files import DECODED, ENTRIES, GOLDEN, pretty, topic_of
from tests.contracts.samples import decoded, entries


def main() -> None:
    match sys.argv[1:]:
        case ["schemas"]:
            for path, build in GOLDEN.items():
                path.write_text(pretty(build()) + "\n", encoding="utf-8")
        case ["entries"]:
            known = {topic_of(line) for line in ENTRIES.read_bytes().splitlines()} if ENTRIES.exists() else set()
            with ENTRIES.open("ab") as stored, DECODED.open("ab") as values:
                for topic in sorted(EVENTS.keys() - known):
                    for entry in entries(EVENTS[topic]):
                        stored.write(entry + b"\n")
                        values.write(orjson.dumps(decoded(decode(0, topic, entry))) + b"\n")
                    print(f"added {topic}")
        case _:
            sys.exit("python -m tests.contracts schemas | entries")


main()
