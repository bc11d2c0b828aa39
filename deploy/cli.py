"""The command `promise-ledger`. Exit codes: 0 good, 1 the answer is bad news, 2 used wrongly."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final

import typer
from typer.core import TyperGroup

COMMANDS: Final = {
    **dict.fromkeys(("up", "serve", "console"), "running:app"),
    **dict.fromkeys(("migrate", "health", "rebuild"), "care:app"),
    **dict.fromkeys(("record", "note", "import", "schema"), "sending:app"),
    "check": "checking:app",
    **dict.fromkeys(("outstanding", "customer", "findings", "trail", "blast-radius", "scorecard"), "reading:app"),
    **dict.fromkeys(("concerns", "problems", "outages", "delivery-times"), "troubles:app"),
    "erase": "erasing:app",
    "verify": "verifying:app",
    **dict.fromkeys(("prove", "vkey", "checkpoint", "export-tiles"), "evidence:app"),
    **dict.fromkeys(("export", "verify-pack"), "packs:app"),
}
"""Which module of `deploy.commands` has the command: what is run loads no other, which would take a second."""
GROUPS: Final = {
    "deadletters": "letters:app",
    "witness": "witnesses:app",
    "policy": "policies:app",
    "keys": "erasing:keys_app",
    "recover": "recovering:app",
}
"""The same of commands that have commands of their own."""

USED_WRONGLY: Final = {"deploy.finding.WrongSetting", "ledger.key_provider.NoKeyProvider"}
"""Errors that are a sentence about a setting."""
BAD_NEWS: Final = {
    "consumers.asking.NoAnswer",
    "consumers.cloudevents.Malformed",
    "consumers.connection.NotLetIn",
    "consumers.connection.NotProvisioned",
    "consumers.deadletters.LetterProblem",
    "consumers.importing.errors.ImportProblem",
    "consumers.provision.ProvisionError",
    "consumers.receipts.UnprovenReceipt",
    "consumers.spool.SpoolProblem",
    "consumers.trust.NotTrusted",
    "deploy.exporting.ExportRefused",
    "deploy.places.SetupError",
    "deploy.submitting.NotCosigned",
    "deploy.witness.WitnessProblem",
    "eventsourcing.persistence.PersistenceError",
    "ledger.erasure.keyring.KeyUnwrapFailed",
    "ledger.erasure.rotation.NotRotated",
    "ledger.erasure.sealing.SealBroken",
    "ledger.key_provider.KeyProblem",
    "ledger.processes.ProcessDied",
    "ledger.recovery.evidence.NotRecovered",
    "ledger.storage.entries.MalformedEntry",
    "ledger.storage.guard.GuardDamaged",
    "ledger.storage.migrations.LogGone",
    "ledger.storage.migrations.MigrationChanged",
    "ledger.storage.recorder.NoLog",
    "ledger.storage.signer.Fork",
    "nats.errors.Error",
    "projections.applying.Stopped",
    "projections.versions.NotInstalled",
    "projections.versions.Outdated",
    "psycopg.Error",
}
"""Errors that are a sentence about what cannot be done; by name, since most lie in parts that a command never loads."""

_DIALECT = {"PGCLIENTENCODING": "UTF8", "PGDATESTYLE": "ISO"}
"""How every connection speaks with PostgreSQL, whatever somebody set for the database or the role."""


class Commands(TyperGroup):
    """Every command, each loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, None where there is none of that name."""
        place = COMMANDS.get(cmd_name) or GROUPS.get(cmd_name)
        if place is None:
            return None
        module, _, part = place.partition(":")
        group = typer.main.get_group(getattr(import_module(f"deploy.commands.{module}"), part))
        if cmd_name in COMMANDS:
            return group.commands[cmd_name]
        group.name = cmd_name
        return group


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.callback(help=__doc__)(lambda: None)


def main() -> None:
    """Run the command; what cannot be done is said in one sentence on stderr, with exit code 1, or 2 for a setting."""
    os.environ.update(_DIALECT)
    _speak_utf8()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from deploy.terminal import complain  # with all that it needs, and Ctrl-C is already taken care of

        names = {f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__}
        if names & (USED_WRONGLY | BAD_NEWS):
            complain(str(error))
        elif isinstance(error, OSError):
            complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        else:
            raise
        sys.exit(2 if names & USED_WRONGLY else 1)


def _speak_utf8() -> None:
    """What is printed is UTF-8 whatever the locale, as signed notes are: a verifier reads them byte for byte."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
