"""report.html: the pack for reading and printing. No script, nothing is loaded, every value is escaped."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from typing import Any, Final

from deploy.pack import verify_pack
from deploy.pack.selecting import asked_for

_STYLE: Final = """
body { font: 10.5pt/1.4 Georgia, serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; break-after: avoid; }
table { border-collapse: collapse; width: 100%; font-size: 8.5pt; }
th, td { border-bottom: 1px solid #bbb; padding: .2rem .5rem .2rem 0; text-align: left; vertical-align: top; }
td { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; } tr { break-inside: avoid; }
thead { display: table-header-group; } pre { font-size: 8pt; white-space: pre-wrap; overflow-wrap: anywhere; }
@page { margin: 15mm; } @media print { body { margin: 0; max-width: none; } }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_PROMISE: Final = ("promise_id", "customer_id", "kind", "owner", "standing", "fulfilment", "timeliness", "made_at")
_FINDING: Final = ("code", "severity", "subject", "customer_id", "opened_at", "closed_at", "opened_by", "rule")
_EVENT: Final = (
    "leaf_index",
    "occurred_at",
    "recorded_at",
    "type",
    "stream",
    "version",
    "actor",
    "customer_id",
    "text",
)

Table = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Columns and rows."""


def report(origin: str, pack: dict[str, Any], tables: dict[str, Table], totals: bytes, completeness: str) -> bytes:
    """The page. Its events are the rows `<tr id="leaf-…">`, and it names the SHA-256 of totals.json."""
    size, as_of = pack["checkpoint"]["size"], pack["as_of"]
    parts = [
        f"<h1>Evidence from the promise ledger {_text(origin)}</h1>",
        f"<p>{_text(asked_for(pack))}. As of {_text(as_of)}, the last of {size} events under the signed checkpoint "
        f"with root {_text(pack['checkpoint']['root'])}.</p>",
        f"<p>Completeness: {_text(completeness)}.</p>",
        "<p>This page is for reading. What proves it are the files beside it: README.md says what each is, and how to "
        "check them offline with <code>python3 verify_pack.py --vkey KEY</code>.</p>",
        _section("Promises", tables["promises.csv"], (*_PROMISE, "due_at", "ended_as")),
        _section("Findings: rules of honest dealing that were broken", tables["findings.csv"], _FINDING),
        _section("What happened, event by event", tables["timeline.csv"], _EVENT, leaves=True),
        "<h2>Control totals</h2>",
        f"<pre>{_text(totals.decode())}</pre><p>SHA-256 of totals.json: <code>{sha256(totals).hexdigest()}</code></p>",
    ]
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    title = f"<title>Evidence from {_text(origin)}</title><style>{_STYLE}</style>"
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}{title}</head>\n<body>\n{body}\n</body></html>\n'.encode()


def _section(title: str, table: Table, columns: Iterable[str], *, leaves: bool = False) -> str:
    names, rows = table
    if not rows:
        return f"<h2>{_text(title)}</h2>\n<p>None.</p>"
    places = [names.index(column) for column in columns]
    heads = "".join(f"<th>{_text(names[place].replace('_', ' '))}</th>" for place in places)
    lines = []
    for row in rows:
        mark = f' id="leaf-{row[0]}"' if leaves else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{_text(row[place])}</td>' for place in places)}</tr>")
    body = "\n".join(lines)
    return f"<h2>{_text(title)}</h2>\n<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _text(value: object) -> str:
    return escape(verify_pack.visible(value))
