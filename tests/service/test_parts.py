"""One part alone, as an operator's own supervisor starts it: what keeps it from its work is one sentence."""

import socket

import pytest

from deploy.places import SetupError
from deploy.serve_projections import serve_projections
from ledger.settings import Settings
from tests.storage.test_roles import as_role


def test_projections_do_not_run_without_their_port(readable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(
            database_url=as_role(readable, "ledger_projector"), broker_url="nats://127.0.0.1:1", http_port=port
        )
        with pytest.raises(SetupError, match=f"port {port} on 127.0.0.1 cannot be used .* or set LEDGER_HTTP_PORT"):
            serve_projections(settings)
