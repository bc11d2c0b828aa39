"""README.md: the pack in plain words, for somebody who has never heard of a ledger."""

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from deploy.pack import verify_pack
from deploy.pack.selecting import Cover
from ledger.tlog.note import Verifier

_WHAT: Final = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
_ROTATED: Final = "| `rotations.json` | how one key of the ledger followed another, with the proof of each step |\n"
_OLDER: Final = "\nA key that the ledger had before will do as well: `rotations.json` proves how one led to the next.\n"
_STAMPED: Final = "| `timestamp.tsr` | a timestamp of the checkpoint (RFC 3161): it was so by that time |\n"


def readme(verifier: Verifier, pack: dict[str, Any], cover: Cover, files: dict[str, bytes], completeness: str) -> bytes:
    """The text, which says of this very pack, whose other `files` are given, what was selected and what is shown."""
    size, entries = pack["checkpoint"]["size"], files["entries.jsonl"].count(b"\n")
    rotated = verify_pack.ROTATIONS in files
    cautions = ["- **It holds words of people in the clear.** Keep it as confidential as the file of the case."]
    if pack["sample"] is not None:
        cautions.append(
            f"- **A sample** of {pack['sample']['count']}, drawn by the seed `{pack['sample']['seed']}`: the events "
            "with the smallest SHA-256 over the seed, a newline and their leaf index. Anybody can draw it again."
        )
    return _WHAT.format(
        origin=verifier.name,
        asked=verify_pack.asked_for(pack),
        entries=entries,
        as_of=pack["as_of"],
        size=size,
        completeness=completeness,
        cautions="\n".join(cautions) + "\n",
        proofs="There is none here: all events of the ledger together make the hash in `checkpoint`."
        * (entries == size),
        cosigned=", and by witnesses" if cover.note.count("\n— ".encode()) > 1 else "",
        stamped="" if cover.stamp is None else _STAMPED,
        vkey=verifier.vkey,
        rotated=_ROTATED if rotated else "",
        older=_OLDER if rotated else "",
        program=sha256(files["verify_pack.py"]).hexdigest(),
    ).encode()
