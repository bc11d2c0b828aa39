"""The part that keeps the read tables and answers HTTP and `disclosure.check`: `promise-ledger serve projections`."""

import asyncio
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from consumers import checking, running
from deploy.console import token_of
from deploy.heartbeat import beat
from deploy.places import SetupError
from deploy.service_user import refuse_others
from deploy.witnessing import read_policy
from ledger.collecting import collect_rarely
from ledger.erasure.keyring import Keyring
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.policy import Policy
from projections.findings.disclosure_check import Checker
from projections.runner import Runner
from projections.site import Site
from projections.web.app import create_app
from projections.web.console.access import Access
from projections.web.console.pages import Console
from projections.web.console.routes import routes as console_routes
from projections.web.health import health
from projections.web.tiles import open_pool


def serve_projections(settings: Settings) -> None:
    """Keep the read tables, answer HTTP and `disclosure.check` until SIGTERM or SIGINT.

    Raises `NotLetIn` where NATS refuses the login, `NotTrusted` where TLS fails, and what else ended the answering.
    """
    assert settings.database_url is not None
    assert settings.broker_url is not None
    url, checks = settings.database_url, checking.Progress(answered_at=time.time())
    refuse_others(url, "ledger_projector")
    listening = _listening(settings.http_port)
    secrets = keys.secrets_of(settings)
    collect_rarely()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pool = open_pool(url)
    pages = open_pool(url, "console")  # of its own: nobody who looks at pages keeps a witness from the log
    policy = None if settings.witness_policy is None else read_policy(settings.witness_policy)
    app = create_app(url, pool, policy, console_routes(_console(secrets, url, pages, policy), _access(settings)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    threads = [
        threading.Thread(target=beat, args=(url, "projections", dict, stop)),
        threading.Thread(target=beat, args=(url, "checks", lambda: _checks_detail(checks), stop)),
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}),
    ]
    for thread in threads:
        thread.start()
    answering = ThreadPoolExecutor(1, "checks")
    answered = answering.submit(running.run, _serve_checks(settings.broker_url, url, stop, checks))
    try:
        Runner(url, secrets).run(stop)
    finally:
        stop.set()
        server.should_exit = True
        for thread in threads:
            thread.join()
        answering.shutdown()
        pool.close()
        pages.close()
        listening.close()
    answered.result()


def _console(
    secrets: keys.Secrets, url: str, pool: ConnectionPool[Connection[TupleRow]], policy: Policy | None
) -> Console:
    def open_keyring() -> Keyring:  # one for each page, and of the keys as they are now: it may outlive a rotation
        return Keyring(secrets.kek, reread=secrets.key_encryption_keys)

    sites = [Site(policy), Site()] if policy is not None else [Site()]
    return Console(pool, open_keyring, lambda: health(url), sites)


def _access(settings: Settings) -> Access:
    def token() -> str | None:
        try:
            return token_of(settings)
        except SetupError:  # said by `promise-ledger console`, which is what whoever is turned away is told to ask
            return None

    return Access(token)


def _listening(port: int) -> socket.socket:
    """What HTTP is answered on. `SetupError` where another program has it: uvicorn would end its own thread alone."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        sentence = (
            f"port {port} on 127.0.0.1 cannot be used ({error.strerror}): stop who has it, or set LEDGER_HTTP_PORT"
        )
        raise SetupError(sentence) from error


async def _serve_checks(broker_url: str, url: str, stop: threading.Event, progress: checking.Progress) -> None:
    """Answer questions until `stop`; where that ends by itself, the whole part ends, and is started again."""
    over = asyncio.Event()
    stopping = asyncio.create_task(asyncio.to_thread(stop.wait))
    answering = asyncio.create_task(checking.serve(broker_url, Checker(url), over, progress=progress))
    await asyncio.wait((stopping, answering), return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    over.set()
    await answering


def _checks_detail(progress: checking.Progress) -> dict[str, Any]:
    return {
        "fetch_seconds_ago": round(time.time() - progress.answered_at, 3),
        "answered": progress.answered,
        "failure": progress.failure,
    }
