"""`migrate`: everything that must be there before a service starts, in one order, safe to repeat."""

from collections.abc import Iterator

from consumers.provision import provision
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.migrations import create_log, migrate
from projections.runner import install
from projections.versions import outdated


def make_ready(settings: Settings) -> Iterator[str]:
    """Tables, the log, read tables and views, streams and consumers exist; says in a line each what was done."""
    assert settings.database_url is not None, "the settings name no database"
    assert settings.broker_url is not None, "the settings name no broker"
    applied = migrate(settings.database_url)
    yield f"tables: {', '.join(applied)} applied" if applied else "tables: up to date"
    yield "log: begun, secrets in keys/" if create_log(settings) else "log: there"
    keys.secrets_of(settings)
    old = install(settings.database_url)
    yield "read tables, views and roles: there"
    if old:
        yield str(outdated(*old))
    provision(settings.broker_url)
    yield "streams and consumers: there"
