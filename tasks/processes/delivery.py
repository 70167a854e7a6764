"""Prefect sends logs and events in the background; a server must not be stopped before it has them."""

from __future__ import annotations


def deliver_events() -> None:
    """Send what Prefect still holds while its server is up; at exit it would wait a minute for a stopped one."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=10)
