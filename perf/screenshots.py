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
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def chromium() -> str:
    """The browser's program."""
    path = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if path is None:
        sys.exit("chromium: not found on the PATH. Fix: apt-get install chromium")
    return path


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


def ask(url: str, body: dict[str, Any], auth: str = "") -> Any:
    """The JSON of a POST. `auth`: user:password."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    if auth:
        request.add_header("Authorization", f"Basic {b64encode(auth.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


class Browser:
    """Headless Chromium, told what to do over a pipe: nothing of it listens."""

    def __init__(self, folder: Path) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        words = [chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        script = f'exec "$@" 3<&{orders} 4>&{answers}'  # the two that Chromium expects
        self.process = subprocess.Popen(["sh", "-c", script, "sh", *words], pass_fds=(orders, answers))
        os.close(orders)
        os.close(answers)
        self._number, self._rest = 0, b""

    def do(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The result of a method of the DevTools protocol."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:  # events
            pass
        if "error" in answer:
            sys.exit(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not (more := os.read(self._answers, 1 << 16)):
                sys.exit("chromium: ended by itself")
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)


def shoot(url: str, out: Path, size: str, auth: str = "", seconds: float = 25) -> None:
    """A page as PNG, once it has had `seconds` to load. `auth`: what Prefect's page asks for."""
    width, height = map(int, size.split(","))
    stored = f"localStorage.setItem('prefect-password', btoa({json.dumps(auth)}))" if auth else ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(Path(folder))
        try:
            target = browser.do("Target.createTarget", url="about:blank", width=width, height=height)["targetId"]
            session = browser.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            browser.do("Page.enable", session)
            browser.do("Page.addScriptToEvaluateOnNewDocument", session, source=stored)
            browser.do("Page.navigate", session, url=url)
            time.sleep(seconds)
            out.write_bytes(b64decode(browser.do("Page.captureScreenshot", session)["data"]))
        finally:
            browser.process.terminate()
            browser.process.wait()
    print(f"{out}: {out.stat().st_size // 1024} KiB of {url}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    from tasks.processes.auth import CLIENT
    from tasks.processes.prefect_server import prefect_server

    with prefect_server() as prefect, mlflow_server(5077) as mlflow:
        filters = {
            "flow_runs": {"tags": {"all_": []}, "name": {"like_": "round "}},
            "sort": "START_TIME_DESC",
            "limit": 1,
        }
        auth = os.environ.get(CLIENT, "")
        (run,) = ask(f"{prefect.api}/flow_runs/filter", filters, auth)
        shoot(f"{prefect.ui}/runs/flow-run/{run['id']}", args.out / "prefect-round.png", "1500,1150", auth)
        (experiment,) = ask(
            f"{mlflow}/api/2.0/mlflow/experiments/search", {"filter": "name = 'rounds'", "max_results": 1}
        )["experiments"]
        shoot(f"{mlflow}/#/experiments/{experiment['experiment_id']}/runs", args.out / "mlflow-rounds.png", "1500,800")
        shoot(f"{mlflow}/#/models/ouro", args.out / "mlflow-registry.png", "1500,700")


if __name__ == "__main__":
    main()
