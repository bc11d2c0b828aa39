"""The witness over HTTP (c2sp.org/tlog-witness): submission and monitoring under one prefix."""

import logging
import signal
import socket
import threading
from collections.abc import Callable
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Request, Response

from deploy.witness import Answer, Witness, WitnessProblem
from ledger.tlog.note import MAX_NOTE_SIZE

MAX_BODY = MAX_NOTE_SIZE + 8192
CONCURRENT_REQUESTS = 100
KEEP_ALIVE_SECONDS = 30


async def _body(request: Request) -> bytes:
    """The request's body, or its beginning where it is longer than any request may be: then it does not parse.

    Asynchronous because that is the only way to read a body piece by piece; nothing else here is.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body)


def create_app(witness: Witness) -> FastAPI:
    """The application over `witness`."""
    app = FastAPI(title="witness", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    @app.post("/add-checkpoint")
    def add_checkpoint(body: Annotated[bytes, Depends(_body)]) -> Response:
        return _response(witness.add_checkpoint(body))

    @app.api_route("/{hexadecimal}/checkpoint", methods=["GET", "HEAD"])
    def get_checkpoint(hexadecimal: str) -> Response:
        return _response(witness.monitored(hexadecimal))

    @app.exception_handler(OSError)
    @app.exception_handler(WitnessProblem)
    def cannot(_: Request, error: Exception) -> Response:
        logging.error("nothing was cosigned: %s", error)
        return _response(Answer(500, b"this witness cannot read or keep what it cosigns: nothing was cosigned\n"))

    return app


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {"Content-Type": answer.content_type, "Cache-Control": "no-cache"})


def serve(witness: Witness, host: str, port: int, ready: Callable[[str, threading.Event], None]) -> None:
    """Answer until SIGTERM or SIGINT; requests in hand are finished.

    `ready` is called with the URL, and with what is set when it is over.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    config = uvicorn.Config(
        create_app(witness),
        log_config=None,
        limit_concurrency=CONCURRENT_REQUESTS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    with socket.create_server((host, port)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        ready(f"http://{host}:{listening.getsockname()[1]}", stop)
        while thread.is_alive() and not stop.wait(0.5):
            pass
        stop.set()
        server.should_exit = True
        thread.join()
