"""The process group of a training on one machine: its processes meet at a file and talk over loopback.

With torch's default, env://, the first process keeps a TCPStore that listens on all interfaces: whoever reaches its
port reads and writes what the processes agree on, without a password. A FileStore has no port. gloo and NCCL listen on
an address of the machine's network unless they are told an interface. accelerate (PartialState) and DeepSpeed
(init_distributed) take a process group that is there already.
"""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import psutil

STORE = "OURO_STORE"  # the environment variable that names the file to a worker of Ouro's own launcher
OF_A_LAUNCHER = ("MASTER_ADDR", "MASTER_PORT")  # of the environment: what env:// reads
TIMEOUT = timedelta(minutes=30)  # for an exchange; transformers' own (ddp_timeout)


def loopback_interface() -> str:
    """Name of the interface that 127.0.0.1 belongs to: "lo" on Linux, "lo0" on macOS. Raises OSError without one."""
    interfaces = psutil.net_if_addrs()
    for name, addresses in interfaces.items():
        if any(a.family == socket.AF_INET and a.address == "127.0.0.1" for a in addresses):
            return name
    raise OSError(
        f"no network interface has the address 127.0.0.1 (got {', '.join(interfaces) or 'none'}), expected the "
        "loopback interface, over which the processes of a training talk. Fix: ip link set lo up"
    )


def on_loopback() -> dict[str, str]:
    """The environment variables with which gloo and NCCL use the loopback interface and no other."""
    name = loopback_interface()
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"}  # without = NCCL takes a prefix


def join_group(store: Path, rank: int, processes: int, backend: str) -> None:
    """Make this process one of `processes` that meet at the file `store`, which none has met at before.

    To be called with `on_loopback()` in the environment. Raises torch's DistStoreError when one does not come.
    """
    import torch.distributed as dist

    file = dist.FileStore(str(store), processes)  # pyright: ignore[reportPrivateImportUsage]
    file.set_timeout(TIMEOUT)
    dist.init_process_group(backend, store=file, rank=rank, world_size=processes, timeout=TIMEOUT)
