"""The command `promise-ledger`. Exit codes: 0 good, 1 the answer is bad news, 2 used wrongly."""

import os
import sys

import nats.errors
import psycopg
import typer
from eventsourcing.persistence import PersistenceError

from consumers import asking, deadletters
from consumers.cloudevents import Malformed
from consumers.connection import NotProvisioned
from consumers.importing.errors import ImportProblem
from consumers.provision import ProvisionError
from consumers.receipts import UnprovenReceipt
from consumers.spool import SpoolProblem
from deploy.commands import (
    care,
    checking,
    erasing,
    evidence,
    letters,
    packs,
    policies,
    reading,
    recovering,
    sending,
    troubles,
    witnesses,
)
from deploy.exporting import ExportRefused
from deploy.finding import WrongSetting
from deploy.places import SetupError
from deploy.submitting import NotCosigned
from deploy.terminal import complain
from deploy.witness import WitnessProblem
from ledger.erasure.keyring import KeyUnwrapFailed
from ledger.key_provider import NoKeyProvider
from ledger.recovery.evidence import NotRecovered
from ledger.storage import keys
from ledger.storage.guard import GuardDamaged
from ledger.storage.migrations import LogGone, MigrationChanged
from ledger.storage.recorder import NoLog
from ledger.storage.signer import Fork
from projections.versions import NotInstalled

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for part in (care, sending, checking, reading, troubles, erasing, evidence, packs):
    app.add_typer(part.app)
app.add_typer(letters.app, name="deadletters")
app.add_typer(witnesses.app, name="witness")
app.add_typer(policies.app, name="policy")
app.add_typer(erasing.keys_app, name="keys")
app.add_typer(recovering.app, name="recover")

_BAD_NEWS = (
    SetupError,
    ExportRefused,
    NotCosigned,
    WitnessProblem,
    NoLog,
    NotInstalled,
    LogGone,
    Fork,
    GuardDamaged,
    NotRecovered,
    ImportProblem,
    asking.NoAnswer,
    Malformed,
    SpoolProblem,
    UnprovenReceipt,
    MigrationChanged,
    NotProvisioned,
    ProvisionError,
    KeyUnwrapFailed,
    keys.KeyProblem,
    deadletters.LetterProblem,
    psycopg.Error,
    PersistenceError,
    nats.errors.Error,
)


_DIALECT = {"PGCLIENTENCODING": "UTF8", "PGDATESTYLE": "ISO"}
"""How every connection speaks with PostgreSQL, whatever somebody set for the database or the role."""


def main() -> None:
    """Run the command; what cannot be done is said in one sentence on stderr, with exit code 1, or 2 for a setting."""
    os.environ.update(_DIALECT)
    try:
        app()
    except (NoKeyProvider, WrongSetting) as error:
        complain(str(error))
        sys.exit(2)
    except _BAD_NEWS as error:
        complain(str(error))
        sys.exit(1)
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
