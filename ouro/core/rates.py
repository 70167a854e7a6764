"""How fast FLOPs and bytes go through a GPU: its peak by its data sheet, and the share that is achieved."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ouro.core.errors import OuroError


class RateError(OuroError, ValueError):
    """A GPU that is not in the table, or a share out of range."""


class GPU(NamedTuple):
    """Dense bf16 FLOP/s (not those of sparse matrices), bytes/s of memory, bytes of memory, the data sheet."""

    peak: float
    bandwidth: float
    memory: float
    source: str


GPUS: Final[dict[str, GPU]] = {
    "h100": GPU(989e12, 3.35e12, 80e9, "NVIDIA H100 SXM5 data sheet"),
    "h100-pcie": GPU(756e12, 2.0e12, 80e9, "NVIDIA H100 PCIe data sheet"),
    "h200": GPU(989e12, 4.8e12, 141e9, "NVIDIA H200 SXM data sheet"),
    "b200": GPU(2250e12, 8.0e12, 180e9, "NVIDIA HGX B200 data sheet, of one GPU"),
    "a100": GPU(312e12, 2.039e12, 80e9, "NVIDIA A100 SXM 80 GB data sheet"),
    "a100-40": GPU(312e12, 1.555e12, 40e9, "NVIDIA A100 SXM 40 GB data sheet"),
    "l40s": GPU(362e12, 0.864e12, 48e9, "NVIDIA L40S data sheet"),
    "l4": GPU(121e12, 0.3e12, 24e9, "NVIDIA L4 data sheet"),
    "a10": GPU(125e12, 0.6e12, 24e9, "NVIDIA A10 data sheet"),
    "mi300x": GPU(1307e12, 5.3e12, 192e9, "AMD Instinct MI300X data sheet"),
}


def known_gpu(name: str) -> GPU | None:
    """The GPU of the table that a driver calls `name`, such as "NVIDIA H100 80GB HBM3"; None for any other, a part of
    one (MIG) and H100 NVL, whose peak lies between."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & {"mig", "nvl"}:
        return None
    match = next((key for key in GPUS if key.partition("-")[0] in words), None)
    return GPUS["h100-pcie" if match == "h100" and "pcie" in words else match] if match else None


class Rates(NamedTuple):
    """A GPU and achieved shares of its peak. `mfu_train`: FLOPs of training, repeated forwards included, over the peak;
    `mfu_prefill`: those of the vision tower, the prefill and the matrices of decoding; `mfu_detector`: of proposal
    networks; `bandwidth_share`: of the memory's bytes/s while decoding; `launch`: seconds that starting one layer's
    kernels takes in a decode step, which is all it takes for small batches without CUDA graphs."""

    gpu: GPU
    mfu_train: float = 0.45
    mfu_prefill: float = 0.5
    mfu_detector: float = 0.1
    bandwidth_share: float = 0.6
    launch: float = 0.9e-3


def rates(gpu: str, mfu_train: float, mfu_prefill: float, served: bool) -> Rates:
    """The rates of a GPU by name. A server (`served`) decodes with CUDA graphs. Raises RateError."""
    spec = GPUS.get(gpu.lower())
    if spec is None:
        raise RateError(f"--gpu {gpu}: not in the table; expected one of {', '.join(GPUS)}")
    for name, share in (("train", mfu_train), ("prefill", mfu_prefill)):
        if not 0 < share <= 1:
            raise RateError(f"--mfu-{name} {share}: expected a share of the peak, above 0 and at most 1, such as 0.45")
    return Rates(spec, mfu_train, mfu_prefill, launch=0.0 if served else Rates._field_defaults["launch"])
