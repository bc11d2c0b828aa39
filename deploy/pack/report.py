"""report.html: the pack for reading and printing. No script, nothing is loaded, every value is escaped."""

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
_WORD: Final = "its signed word, and no proof. Whoever has all events can reckon it again."


def report(origin: str, pack: dict[str, Any], files: dict[str, bytes], completeness: str) -> bytes:
    """The page. Each of its tables is one of the CSV `files`, which verify_pack.py compares."""
    size, as_of, totals = pack["checkpoint"]["size"], pack["as_of"], files["totals.json"]
    parts = [
        f"<h1>Evidence from the promise ledger {_text(origin)}</h1>",
        f"<p>{_text(asked_for(pack))}. As of {_text(as_of)}, the last of {size} events under the signed checkpoint "
        f"with root {_text(pack['checkpoint']['root'])}.</p>",
        f"<p>Completeness: {_text(completeness)}.</p>",
        "<p>This page is for reading. What proves it are the files beside it: README.md says what each is, and how to "
        "check them offline with <code>python3 verify_pack.py --vkey KEY</code>. A value that begins with ' had a sign "
        "in front that a spreadsheet would take for a formula.</p>",
        _section("Promises", f"How each stood, as the ledger's owner reckons it: {_WORD}", "promises.csv", files),
        _section(
            "Findings: rules of honest dealing that were broken",
            f"By the owner's reckoning: {_WORD}",
            "findings.csv",
            files,
        ),
        _section("What happened, event by event", "Each event and its words are proven.", "timeline.csv", files),
        "<h2>Control totals</h2>",
        f"<pre>{_text(totals.decode())}</pre><p>SHA-256 of totals.json: <code>{sha256(totals).hexdigest()}</code></p>",
    ]
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    title = f"<title>Evidence from {_text(origin)}</title><style>{_STYLE}</style>"
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}{title}</head>\n<body>\n{body}\n</body></html>\n'.encode()


def _section(title: str, standing: str, name: str, files: dict[str, bytes]) -> str:
    heads = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in verify_pack.PAGE[name])
    rows = verify_pack.on_page(name, files[name])
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table>"
    return f"<h2>{title}</h2>\n<p>{standing}{'' if rows else ' None.'}</p>\n{table}"


def _text(value: object) -> str:
    return escape(verify_pack.visible(value))
