"""Hand evidence to a court or an auditor, and check what was handed out."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands.evidence import pinned, policy_in
from deploy.finding import at_hand
from deploy.foreign import printable
from deploy.pack import verify_pack
from deploy.pack.publishing import export_pack
from deploy.pack.selecting import Sample, Wanted
from deploy.tables import counted
from deploy.terminal import AsJson, DataDir, bar, database, identifier, in_order, moment, out, print_json
from ledger.storage import keys
from ledger.tlog.errors import TlogError
from ledger.tlog.witness import CosignatureVerifier

app = typer.Typer()
_SEED = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def _witness_key(text: str) -> str:
    try:
        return CosignatureVerifier.parse(text).vkey
    except TlogError as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger witness serve` prints it") from error


@app.command("export")
def export_command(
    directory: Annotated[Path, typer.Argument(file_okay=False, metavar="DIR")],
    customer: Annotated[
        str | None, typer.Option("--customer", parser=identifier, metavar="ID", help="Every event of this customer.")
    ] = None,
    case: Annotated[
        str | None, typer.Option("--case", parser=identifier, metavar="ID", help="Every stream that names this case.")
    ] = None,
    promise: Annotated[
        str | None, typer.Option("--promise", parser=identifier, metavar="ID", help="This promise, and what names it.")
    ] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="What was recorded from then on.")
    ] = None,
    stop: Annotated[
        datetime | None, typer.Option("--to", parser=moment, metavar="TIME", help="What was recorded before then.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole log.")] = False,
    count: Annotated[int | None, typer.Option("--sample", min=1, metavar="N", help="Only so many of these.")] = None,
    seed: Annotated[
        str | None, typer.Option("--seed", help="What the sample is drawn by, named by who checks.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--checkpoint", min=1, metavar="SIZE", help="Under the checkpoint of that size.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that proves its events to whoever has our key: for a court or an auditor. It holds words in clear.

    The same selection under the same checkpoint is the same pack, byte for byte.
    """
    in_order(start, stop)
    wanted = _wanted(customer, case, promise, start, stop, everything)
    sample = _sample(count, seed)
    with at_hand(data_dir) as settings, bar("deriving the findings") as advance:
        exported = export_pack(
            database(settings),
            keys.secrets_of(settings),
            directory,
            wanted,
            sample=sample,
            size=size,
            policy=policy_in(settings.witness_policy),
            progress=advance,
        )
    if as_json:
        print_json(exported._asdict())
        return
    checkpoint = f"the checkpoint of {counted(exported.size, 'event')}"
    out.print(f"{directory} holds {counted(exported.entries, 'event')} under {checkpoint}")
    gone = f"{exported.erased} were erased" + (f", {exported.lost} lost" if exported.lost else "")
    out.print(f"it holds {counted(exported.texts, 'text')} in the clear, {gone}: hand it over safely")
    out.print("and this key by another way, for `python3 verify_pack.py --vkey KEY`:")
    print(exported.vkey)


def _wanted(
    customer: str | None,
    case: str | None,
    promise: str | None,
    start: datetime | None,
    stop: datetime | None,
    everything: bool,
) -> Wanted:
    """The one selection that was asked for."""
    asked = [
        *([] if customer is None else [Wanted("customer", customer)]),
        *([] if case is None else [Wanted("case", case)]),
        *([] if promise is None else [Wanted("promise", promise)]),
        *([] if start is None and stop is None else [Wanted("from", start=start, stop=stop)]),
        *([Wanted("all")] if everything else []),
    ]
    if len(asked) != 1:
        raise typer.BadParameter("give one of --customer, --case, --promise, --from and --to, --all")
    return asked[0]


def _sample(count: int | None, seed: str | None) -> Sample | None:
    if (count is None) != (seed is None):
        raise typer.BadParameter("--sample and --seed belong together")
    if count is None or seed is None:
        return None
    if not _SEED.fullmatch(seed):
        raise typer.BadParameter("a seed is 1 to 128 letters, digits and . _ : -")
    return Sample(count, seed)


@app.command("verify-pack")
def verify_pack_command(
    directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, metavar="DIR")],
    vkey: Annotated[
        str | None, typer.Option("--vkey", parser=pinned, envvar="LEDGER_VKEY", help="The log's key as you keep it.")
    ] = None,
    witnesses: Annotated[
        list[str] | None, typer.Option("--witness", parser=_witness_key, metavar="VKEY", help="Who must have cosigned.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an evidence pack offline, by the very program that is in it; exit code 1 where it is not as signed."""
    found: dict[str, Any]
    try:
        pack = verify_pack.check(str(directory), vkey, witnesses or ())
        found, lines = _shown(pack), verify_pack.sentences(pack, vkey, witnesses)
        found |= {"key_was_given": vkey is not None, "witnesses_were_given": bool(witnesses)}
    except verify_pack.Wrong as wrong:
        found, lines = {"ok": False, "problem": str(wrong)}, [f"NOT AS SIGNED: {wrong}"]
    if as_json:
        print_json(found)
    else:
        for line in lines:
            out.print(printable(verify_pack.visible(line)), soft_wrap=True)  # what is quoted begins no line
    raise typer.Exit(0 if found["ok"] else 1)


def _shown(pack: verify_pack.Pack) -> dict[str, Any]:
    """What a pack that is as signed shows, for programs."""
    return {
        "ok": True,
        "origin": pack.origin,
        "size": pack.size,
        "root": pack.root.hex(),
        "selected": verify_pack.asked_for(pack.pack),
        "entries": len(pack.raw),
        "texts": pack.opened,
        "erased": pack.erased,
        "lost": pack.lost,
        "completeness": pack.completeness,
        "cosigned_by": [witness.split("+")[0] for witness in pack.witnesses],
        "has_timestamp": verify_pack.STAMP in pack.files,
    }
