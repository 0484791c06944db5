"""What was counted, in the form that Prometheus reads."""

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from pricore.system.metrics import REQUEST_BOUNDS, SYNC_BOUNDS, Metrics, State

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_ROUTE: Final = ("method", "route")


def render(metrics: Metrics, state: State) -> bytes:
    """Everything that there is to tell. It takes milliseconds."""
    registry = CollectorRegistry()
    registry.register(_Everything(metrics, state))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, metrics: Metrics, state: State) -> None:
        self._metrics = metrics
        self._state = state

    def describe(self) -> list[Metric]:
        """Nothing: who registers this needs no names."""
        return []

    def collect(self) -> Iterator[Metric]:
        runs = {"version": version("pricore"), "python": platform.python_version()}
        yield InfoMetricFamily("pricore_build", "What runs.", value=runs)
        yield from self._requests()
        yield from self._syncs()
        made = CounterMetricFamily("pricore_archives_made", "Archives made because somebody asked for them.")
        made.add_metric([], self._metrics.total(self._metrics.archives_made.cell))
        yield made
        state = self._state
        yield GaugeMetricFamily("pricore_queue_jobs", "Syncs that were asked for and wait.", value=state.queued)
        yield GaugeMetricFamily(
            "pricore_queue_oldest_seconds", "How long the first has waited.", value=state.oldest
        )
        repositories = GaugeMetricFamily(
            "pricore_repositories", "Followed, by their last sync.", labels=["status"]
        )
        for status, count in state.repositories.items():
            repositories.add_metric([status], count)
        yield repositories
        yield GaugeMetricFamily("pricore_database_bytes", "Size of the database's file.", value=state.database)
        yield GaugeMetricFamily("pricore_database_wal_bytes", "Size of the log beside it.", value=state.wal)

    def _requests(self) -> Iterator[Metric]:
        total = self._metrics.total
        counts = CounterMetricFamily("pricore_requests", "Requests answered.", labels=[*_ROUTE, "status"])
        sent = CounterMetricFamily("pricore_sent_bytes", "Bytes of bodies sent.", labels=_ROUTE)
        seconds = HistogramMetricFamily(
            "pricore_request_seconds", "From the head of a request to the end of its answer.", labels=_ROUTE
        )
        for route in self._metrics.routes:
            labels = [route.method, route.path]
            statuses = {f"{first}xx": total(route.statuses + first) for first in range(1, 6)}
            for status, count in statuses.items():
                if count:
                    counts.add_metric([*labels, status], count)
            if any(statuses.values()):
                sent.add_metric(labels, total(route.bytes))
                seconds.add_metric(labels, *self._histogram(route.seconds, REQUEST_BOUNDS))
        yield from (counts, sent, seconds)

    def _syncs(self) -> Iterator[Metric]:
        syncs, total = self._metrics.syncs, self._metrics.total
        ended = CounterMetricFamily("pricore_syncs", "Syncs of this server that ended.", labels=["outcome"])
        for outcome, cell in syncs.outcomes.items():
            ended.add_metric([outcome], total(cell))
        seconds = HistogramMetricFamily("pricore_sync_seconds", "How long they took.")
        seconds.add_metric([], *self._histogram(syncs.seconds, SYNC_BOUNDS))
        running = GaugeMetricFamily("pricore_syncs_running", "Syncs at work.", value=total(syncs.running))
        yield from (ended, seconds, running)

    def _histogram(self, cell: int, bounds: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
        """The buckets and the sum of a histogram that begins at a cell with its sum."""
        counts = accumulate(self._metrics.total(cell + 1 + number) for number in range(len(bounds) + 1))
        names = [*(str(bound) for bound in bounds), "+Inf"]
        return list(zip(names, counts, strict=True)), self._metrics.total(cell)
