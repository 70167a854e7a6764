"""What a run was made from: the git commit, dvc.lock, and the hash of every dataset in it."""

from __future__ import annotations

import contextlib
import subprocess
from hashlib import sha256
from pathlib import Path


def provenance() -> dict[str, str]:
    """The git commit and the digest of dvc.lock, as tags; "none" where there is none."""
    commit = ""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git, no repository
        process = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        commit = process.stdout.strip()
    lock = Path("dvc.lock")
    return {
        "git_commit": commit or "none",
        "dvc_lock": sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "none",
    }


def dataset_digests(lock: Path = Path("dvc.lock")) -> dict[str, str]:
    """Output path -> hash of every dataset that dvc.lock names, for a run's tags."""
    import yaml

    if not lock.is_file():
        return {}
    stages = (yaml.safe_load(lock.read_text()) or {}).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    return {f"data.{out['path']}": str(out.get("md5", "")) for out in outs}
