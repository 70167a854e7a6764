"""Every listening socket of a process and of all that descends from it, looked at again and again while it runs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator
from ipaddress import ip_address

import psutil

INTERVAL = 0.05  # seconds between two looks


class Listeners:
    """What was seen to listen: (address, port) -> the command lines of those who did."""

    def __init__(self) -> None:
        self.commands: dict[tuple[str, int], set[str]] = {}

    @property
    def open_to_others(self) -> dict[tuple[str, int], set[str]]:
        """Those that other machines reach: not bound to a loopback address."""
        return {at: who for at, who in self.commands.items() if not ip_address(at[0].split("%")[0]).is_loopback}

    def look(self, root: psutil.Process) -> None:
        """Add what listens now, TCP over IPv4 and IPv6, below `root`, itself included."""
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                for socket in process.net_connections(kind="tcp"):
                    if socket.status == psutil.CONN_LISTEN:
                        self.commands.setdefault((socket.laddr.ip, socket.laddr.port), set()).add(
                            " ".join(process.cmdline())
                        )


@contextlib.contextmanager
def listeners(pid: int | None = None) -> Generator[Listeners]:
    """Watch a process (this one by default) and its descendants while the block runs."""
    root = psutil.Process(pid or os.getpid())
    seen, ended = Listeners(), threading.Event()

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while not ended.wait(INTERVAL):
                seen.look(root)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
