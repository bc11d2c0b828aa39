"""One part alone, as an operator's own supervisor starts it: what keeps it from its work is one sentence."""

import re
import select
import socket
import threading
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from deploy.places import SetupError
from deploy.serve_projections import serve_projections
from deploy.service_user import refuse_others
from ledger.settings import Settings
from tests.storage.test_roles import as_role

_KEY = re.compile(rb"(K\0\0\0\x0c)....", re.DOTALL)
"""How a server names its process and the key for cancelling (BackendKeyData)."""


def test_projections_do_not_run_without_their_port(readable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(
            database_url=as_role(readable, "ledger_projector"), broker_url="nats://127.0.0.1:1", http_port=port
        )
        with pytest.raises(SetupError, match=f"port {port} on 127.0.0.1 cannot be used .* or set LEDGER_HTTP_PORT"):
            serve_projections(settings)


def test_a_service_does_not_run_behind_a_connection_pooler(readable: str, tmp_path: Path) -> None:
    url = as_role(readable, "ledger_relay")
    with psycopg.connect(url) as connection:
        host, port, name = connection.info.host, connection.info.port, connection.info.dbname
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / ".s.PGSQL.5432"))
        listening.listen()
        pooler = threading.Thread(target=_greet_for, args=(listening, f"{host}/.s.PGSQL.{port}"))
        pooler.start()
        with pytest.raises(SetupError, match="leads to a connection pooler: give LEDGER_DATABASE_URL"):
            refuse_others(f"postgresql://ledger_relay@/{name}?host={quote(str(tmp_path))}")
        pooler.join()
    refuse_others(url)


def _greet_for(listening: socket.socket, server: str) -> None:
    """One connection passed on to `server`, greeted under a process id of one's own, as poolers do."""
    client, _ = listening.accept()
    with client, socket.socket(socket.AF_UNIX) as behind:
        behind.connect(server)
        while True:
            for side in select.select([client, behind], [], [])[0]:
                if not (said := side.recv(65_536)):
                    return
                if side is behind:
                    client.sendall(_KEY.sub(rb"\1\0\0\0\0", said))
                else:
                    behind.sendall(said)
