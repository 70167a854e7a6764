"""Pictures of what one sees after rounds, from the real pages: `uv run python perf/screenshots.py [--out docs]`.

Run in a checkout in which `ouro bootstrap` has ended. Starts Prefect's and MLflow's servers on loopback over what the
rounds left, opens their pages in headless Chromium (Debian: chromium), and writes prefect-round.png, mlflow-rounds.png
and mlflow-registry.png.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def chromium() -> str:
    """The browser's program."""
    found = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if found is None:
        sys.exit("chromium: not found on the PATH. Fix: apt-get install chromium")
    return found


@contextmanager
def mlflow_server(port: int) -> Generator[str]:
    """MLflow's pages over the checkout's store."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db"]
    command += ["--artifacts-destination", "mlartifacts", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, env=quiet, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait(url: str, seconds: float = 180) -> None:
    """Until a page answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    sys.exit(f"{url}: no answer after {seconds:.0f} s")


def ask(url: str, body: dict[str, Any]) -> Any:
    """The JSON of a POST."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def shoot(url: str, out: Path, size: str, seconds: int = 25) -> None:
    """A page as PNG, once it has had `seconds` of its own time to load."""
    command = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
        f"--window-size={size}", f"--virtual-time-budget={1000 * seconds}", f"--screenshot={out.resolve()}", url,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    print(f"{out}: {out.stat().st_size // 1024} KiB of {url}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    from tasks.processes.prefect_server import prefect_server

    with prefect_server() as prefect, mlflow_server(5077) as mlflow:
        wanted = {
            "flow_runs": {"tags": {"all_": []}, "name": {"like_": "round "}},
            "sort": "START_TIME_DESC",
            "limit": 1,
        }
        (run,) = ask(f"{prefect.api}/flow_runs/filter", wanted)
        shoot(f"{prefect.ui}/runs/flow-run/{run['id']}", args.out / "prefect-round.png", "1500,1150")
        (experiment,) = ask(
            f"{mlflow}/api/2.0/mlflow/experiments/search", {"filter": "name = 'rounds'", "max_results": 1}
        )["experiments"]
        shoot(f"{mlflow}/#/experiments/{experiment['experiment_id']}/runs", args.out / "mlflow-rounds.png", "1500,800")
        shoot(f"{mlflow}/#/models/ouro", args.out / "mlflow-registry.png", "1500,700")


if __name__ == "__main__":
    main()
