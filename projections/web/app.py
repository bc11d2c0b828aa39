"""The read side over HTTP: /health, /metrics, the log itself (`projections.web.tiles`) and the console."""

from collections.abc import Iterator

import psycopg
import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException

from ledger.tlog.policy import Policy
from projections.site import Damaged
from projections.web import tiles
from projections.web.health import Health, health

_log = structlog.get_logger(__name__)


class LedgerMetrics(Collector):
    """Metrics asked of the database at each scrape: true whichever process did the work."""

    def __init__(self, url: str) -> None:
        self._url = url

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of this moment. What the database did not say is left out: 0 would be a log without events."""
        now = health(self._url)
        yield GaugeMetricFamily("ledger_healthy", "1 where everything gets on", int(now.healthy))
        if now.size is not None:
            yield GaugeMetricFamily("ledger_events", "Events in the log", now.size)
            signed = now.signed_size
            yield GaugeMetricFamily("ledger_signed_events", "Events under the newest stored checkpoint", signed)
        yield from _parts(now)
        lag = GaugeMetricFamily("ledger_projection_lag_events", "Events not projected yet", labels=["projection"])
        for projection in now.projections:
            lag.add_metric([projection["name"]], projection["lag_events"])
        yield lag


def _parts(now: Health) -> Iterator[GaugeMetricFamily]:
    seen = GaugeMetricFamily("ledger_part_seen_seconds", "Seconds since a part was last at work", labels=["part"])
    for part, said in now.parts.items():
        seen.add_metric([part], said["seconds_ago"])
    yield seen
    pending = now.parts.get("intake", {}).get("pending")
    if pending is not None:
        yield GaugeMetricFamily("ledger_commands_pending", "Commands waiting in the queue", pending)
    lag = now.parts.get("relay", {}).get("lag_events")
    if lag is not None:
        yield GaugeMetricFamily("ledger_relay_lag_events", "Events not published on the queue yet", lag)


def create_app(
    url: str,
    pool: ConnectionPool[psycopg.Connection[TupleRow]],
    policy: Policy | None = None,
    console: APIRouter | None = None,
) -> FastAPI:
    """The application over the database at `url`; the log is read through `pool` (`tiles.open_pool`), of the same.

    With a `policy` a checkpoint is published only once enough of its witnesses have cosigned it. `console`: its routes,
    where this host has one.
    """
    app = FastAPI(title="promise ledger", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(tiles.routes(pool, policy))
    if console is not None:
        app.include_router(console)
        app.add_api_route("/", lambda: RedirectResponse("/console/"), methods=["GET", "HEAD"])
    registry = CollectorRegistry()
    registry.register(LedgerMetrics(url))

    @app.get("/health")
    def get_health() -> JSONResponse:
        now = health(url)
        return JSONResponse(now.to_dict(), status_code=200 if now.healthy else 503)

    @app.get("/metrics")
    def get_metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(psycopg.Error)
    def database_away(_: Request, error: Exception) -> Response:
        return tiles.no_answer("the database does not answer", 503, {"Retry-After": "5"})

    logged: str | None = None

    @app.exception_handler(Damaged)
    def damaged(_: Request, error: Exception) -> Response:
        nonlocal logged
        if str(error) != logged:  # whoever asks again and again does not fill the log
            _log.error("the log cannot be served", error=str(error))
        logged = str(error)
        return tiles.no_answer(str(error), 500)

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return tiles.no_answer(error.detail.lower(), error.status_code, error.headers)

    return app
