"""Forget a customer's words; the keys of this log, and a new one in place of that which closes over all words."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from deploy import erasing
from deploy.commands.evidence import guarded_origin
from deploy.finding import at_hand, located, settings_for
from deploy.noting import user
from deploy.tables import counted, show
from deploy.terminal import AsJson, DataDir, err, out, print_json
from ledger.app import Ledger
from ledger.erasure.rotation import name_of, rotate
from ledger.log_rotation import rotate_log_key
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.wrapping import fingerprint
from ledger.tlog.note import Signer

app = typer.Typer()
keys_app = typer.Typer(no_args_is_help=True, help="The keys of this log.")
WAIT_SECONDS = 60.0


@app.command()
def erase(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER")],
    grounds: Annotated[
        str, typer.Option("--grounds", help="Why, such as art-17-1-a; on record for ever: nothing about the person.")
    ],
    actor: Annotated[str | None, typer.Option("--actor", envvar="LEDGER_ACTOR", help="Who orders it.")] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for it.")
    ] = WAIT_SECONDS,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Destroy all words of a customer, for good; what happened stays on record without them. Safe to repeat.

    Exit code 1 where it is not completed: refused, deferred by a hold, or still on its way.
    """
    try:
        command = erasing.order(customer_id, grounds, actor or user())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    account = erasing.erase(located(data_dir), command, wait)
    if as_json:
        print_json(account.to_dict())
    else:
        out.print("\n".join(_told(account)))
    raise typer.Exit(0 if account.standing == "completed" else 1)


def _told(account: erasing.Account) -> list[str]:
    who = f"customer {account.customer_id}"
    match account.standing:
        case "refused":
            return [f"refused ({account.code}): {account.message}"]
        case "deferred":
            return [
                f"deferred: the words of {who} are held by {', '.join(account.holds)}",
                "the erasure is on record and begins by itself once the last hold is lifted",
            ]
        case "requested":
            return [
                f"on its way: no words of {who} are read or recorded any more, and they are being destroyed",
                "`promise-ledger health` says what it waits for; the same command waits on",
            ]
    return [
        f"{who}: [erased on {account.requested_at:%Y-%m-%d}]",
        f"destroyed: {counted(account.keys, 'data key')}, and with them the words of "
        f"{counted(account.texts, 'event')}; {counted(account.letters, 'dead letter')} removed",
        "not reached from here: backups, notepads, files that were exported or imported (docs/erasure.md)",
    ]


@keys_app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Which secrets this host has, where each comes from, and what may be known of it; never the secret itself."""
    settings = settings_for(data_dir)
    rows = [
        {"key": name, "from": None if held is None else held.where, "known_as": None if held is None else known_as}
        for name, held, known_as in _held(settings)
    ]
    if as_json:
        print_json(rows)
    else:
        show(out, "keys", [row | {"from": row["from"] or "not on this host"} for row in rows], rows[0])


def _held(settings: Settings) -> Iterator[tuple[str, keys.Held[Any] | None, str | None]]:
    """Each secret, and what tells it from others: of the log's key the public one, of the others a fingerprint."""
    log, kek, digest = keys.log_key(settings), keys.key_encryption_key(settings), keys.digest_key(settings)
    yield "log", log, None if log is None else Signer(guarded_origin(settings) or settings.origin, log.secret).vkey
    if (old := keys.log_key_before(settings)) is not None:
        yield "log.old", old, Signer(guarded_origin(settings) or settings.origin, old.secret).vkey
    yield "kek", kek, None if kek is None else name_of(kek.secret)
    if (before := keys.key_encryption_key_before(settings)) is not None:
        yield "kek.old", before, name_of(before.secret)
    yield "digest", digest, None if digest is None else fingerprint("digest", digest.secret)


@keys_app.command("rotate")
def rotate_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Wrap all customers' keys under a new key-encryption key and destroy the old one. Services may run meanwhile.

    Run it on the ledger's host, as the owner of the database. After a crash run it again: it goes on.
    """
    with at_hand(data_dir) as settings:
        secrets = keys.secrets_of(settings)
        with Ledger.open(settings) as ledger:
            name = rotate(ledger, secrets)
    if as_json:
        print_json({"kek": name})
        return
    out.print(f"all data keys are wrapped under the new key {name}{_destroyed(secrets)}")
    if secrets.kek_in_file:
        err.print(f"back up {settings.keys_dir / 'kek'} now: without it no text can be read any more")
    elif (old := settings.key_kek_old or settings.key_provider_old) is not None:
        variable = "LEDGER_KEY_KEK_OLD" if old is settings.key_kek_old else "LEDGER_KEY_PROVIDER_OLD"
        err.print(f"take {variable} away and start every service anew")
    err.print("destroy the backups of the old one when no older backup of the database is to be restored any more")


@keys_app.command("rotate-log")
def rotate_log_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Sign the log with a new key from here on, as the log says under the old one, whose file goes. Stop services.

    Run it on the ledger's host, as the owner of the database; that of `up` is started for it. After a crash run it
    again: it goes on.
    """
    with at_hand(data_dir) as settings:
        old, new = rotate_log_key(settings)
    if as_json:
        print_json({"old_vkey": old, "vkey": new})
        return
    out.print(f"the log is signed by {new} from here on, and no longer by {old}", soft_wrap=True)
    if (path := settings.keys_dir / "log").exists():
        err.print(f"back up {path} now: without it the log cannot be carried on; destroy older backups")
    if settings.key_log_old is not None or settings.key_provider_old is not None:
        err.print("take LEDGER_KEY_LOG_OLD or LEDGER_KEY_PROVIDER_OLD away, and destroy the old key where it is kept")
    err.print("hand the new key out beside the old one: to those who verify receipts, to witnesses, to auditors")


def _destroyed(secrets: keys.Secrets) -> str:
    return ", and the old one is destroyed here" if secrets.kek_in_file else ""
