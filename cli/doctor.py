"""`ouro doctor`: is this machine fit for Ouro, and how to mend each thing that is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cli.findings import Finding
from cli.servers import addresses, servers
from ouro.core.state import CHECKOUT

if TYPE_CHECKING:
    from ouro.core.params import Params

MIN_DISK_GB = 10.0
ANSWER_SECONDS = 30.0  # that a model server has for one word
# What a model folder holds beside its weights; transformers 5 writes the first name of each, older releases the second.
FILES = (
    ("config.json",),
    ("tokenizer.json",),
    ("processor_config.json", "preprocessor_config.json"),
    ("chat_template.jinja", "chat_template.json"),
)


def doctor() -> None:
    """Check this machine and say per finding how to mend it. Exit code 1 when something needed is missing.

    \b
    Examples:
      ouro doctor
    """
    raise SystemExit(run())


def run() -> int:
    """Look at everything, print a table, return the exit code: 1 when something needed is missing."""
    from tasks import screen

    findings = [finding for look in LOOKS for finding in _safely(look)]
    _show(findings)
    missing = sum(f.verdict == "missing" for f in findings)
    if missing:
        screen.say(f"{missing} of {len(findings)} needed things are missing")
    return 1 if missing else 0


def _safely(look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except Exception as error:  # a broken machine breaks in any way; the other findings still matter
        return [Finding(look.__name__, "missing", f"{type(error).__name__}: {error}", "see the error's text")]


def python() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    mend = "uv python install 3.13, then uv sync"
    return [Finding("Python", "ok" if fits else "missing", version, "" if fits else mend)]


def packages() -> list[Finding]:
    """Whether the big packages are installed; nothing is imported."""
    import importlib.util

    names = (
        "torch",
        "torchvision",
        "transformers",
        "peft",
        "prefect",
        "mlflow",
        "dvc",
        "paddleocr",
        "pyarrow",
    )
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    summary = f"not installed: {', '.join(missing)}" if missing else f"all of {', '.join(names)}"
    return [Finding("packages", "missing" if missing else "ok", summary, "uv sync" if missing else "")]


def opencv() -> list[Finding]:
    """PaddleOCR's OpenCV needs libGL.so.1. Tried in a process of its own: a broken one may crash."""
    import subprocess

    code = "import cv2; print(cv2.__version__, hasattr(cv2, 'ximgproc'))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if process.returncode == 0:
        version, extra = process.stdout.split()
        if extra == "True":
            return [Finding("OpenCV (OCR)", "ok", version)]
        mend = "uv sync --reinstall-package opencv-contrib-python"
        return [Finding("OpenCV (OCR)", "missing", f"{version} without ximgproc", mend)]
    last = (process.stderr.strip().splitlines() or ["no message"])[-1]
    mend = "apt-get install libgl1 libglib2.0-0; or leave ocr out of propose.proposers"
    return [Finding("OpenCV (OCR)", "missing", last, mend)]


def java() -> list[Finding]:
    import shutil

    path = shutil.which("java")
    if path:
        return [Finding("Java", "ok", path)]
    mend = "only for the caption metrics METEOR and SPICE: apt-get install default-jre-headless"
    return [Finding("Java", "note", "not found", mend)]


def gpu() -> list[Finding]:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return [Finding("GPU", "ok", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free")]
    threads = f"none; {os.cpu_count()} CPU cores"
    return [Finding("GPU", "note", threads, "enough for the nano world; a 7B model needs a GPU of 24 GiB or more")]


def disk() -> list[Finding]:
    import shutil

    free = shutil.disk_usage(".").free / 1e9
    fits = free >= MIN_DISK_GB
    mend = "" if fits else f"free {MIN_DISK_GB:.0f} GB; `dvc gc --workspace` and {CHECKOUT.cache} are safe to clear"
    return [Finding("disk", "ok" if fits else "missing", f"{free:.0f} GB free here", mend)]


def writable() -> list[Finding]:
    fits = os.access(".", os.W_OK)
    return [Finding("checkout", "ok" if fits else "missing", str(Path.cwd()), "" if fits else "make it writable")]


def model() -> list[Finding]:
    """params.yaml, and the model folders that it names."""
    from ouro.core.params import load_params
    from ouro.core.params_text import ParamsError

    try:
        params = load_params()
    except ParamsError as error:
        return [Finding("params.yaml", "missing", str(error), "correct the file; run ouro from its checkout")]
    return [Finding("params.yaml", "ok", "valid"), *_folders(params)]


def _folders(params: Params) -> list[Finding]:
    from tasks.models import MissingModel, require_model

    findings: list[Finding] = []
    served = params.model.backend == "openai"  # then the server holds the annotator
    folders = [("model.base", params.model.base)]
    if "rpn" in params.propose.proposers and not params.model.proposer.startswith("fasterrcnn"):
        folders.append(("model.proposer", params.model.proposer))
    for key, folder in folders:
        try:
            require_model(Path(folder))
            findings.append(Finding(key, "ok", f"{folder}: {_size(Path(folder)):.1f} MB of weights"))
        except MissingModel as error:
            problem, _, mend = str(error).partition(" Fix: ")
            if served and key == "model.base":
                findings.append(Finding(key, "note", problem, f"only to train and benchmark: {mend or 'see its text'}"))
            else:
                findings.append(Finding(key, "missing", problem, mend or "see its text"))
    base = Path(params.model.base)
    missing_files = [" or ".join(names) for names in FILES if not any((base / name).is_file() for name in names)]
    if missing_files and findings[0].verdict == "ok":
        findings.append(
            Finding("model files", "note", f"not in {params.model.base}: {', '.join(missing_files)}", "fetch it again")
        )
    return findings


def _size(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6


def server() -> list[Finding]:
    """With model.backend openai: whether the server answers a question about a picture, with the key there is."""
    from PIL import Image as PILImage

    from ouro.core.params import load_params
    from ouro.core.params_text import ParamsError
    from ouro.vision.openai import KEY, OpenAIVisionLM, ServerRefused, ServerUnavailable
    from ouro.vision.protocols import Request

    try:
        model_params = load_params().model
    except ParamsError:
        return []  # `model` says so
    if model_params.backend != "openai":
        return []
    request = Request((PILImage.new("RGB", (64, 64), "white"),), "What colour is it?")
    try:
        vlm = OpenAIVisionLM(
            model_params.url, model_params.name, 1, min(model_params.timeout, ANSWER_SECONDS), retries=0
        )
        vlm.generate([request], max_new_tokens=1)
    except (ServerRefused, ServerUnavailable) as error:
        problem, _, mend = str(error).partition(" Fix: ")
        return [Finding("model server", "missing", problem, mend or "see its text")]
    key = f"{KEY} is set" if os.environ.get(KEY) else f"no {KEY}, and none is wanted"
    return [Finding("model server", "ok", f"{model_params.url} answers as {model_params.name}; {key}")]


def repository() -> list[Finding]:
    """git and DVC: the checkout they work in."""
    import shutil
    import subprocess

    if shutil.which("git") is None:
        return [Finding("git", "missing", "not found on the PATH", "install git")]
    process = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    commit = process.stdout.strip() if process.returncode == 0 else "no commit here"
    git = Finding(
        "git", "ok" if process.returncode == 0 else "note", commit, "" if process.returncode == 0 else "git clone"
    )
    has_dvc = Path(".dvc/config").is_file() and Path("dvc.yaml").is_file()
    text = "dvc.yaml and .dvc/config" if has_dvc else "no dvc.yaml or .dvc/config here"
    return [
        git,
        Finding("DVC", "ok" if has_dvc else "missing", text, "" if has_dvc else "run ouro from its checkout"),
    ]


LOOKS = (python, packages, opencv, java, gpu, disk, writable, servers, addresses, repository, model, server)


def _show(findings: list[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from tasks import screen

    colors = {"ok": "green", "note": "yellow", "missing": "red"}
    table = Table("", "what", "found", "how to mend it")
    for f in findings:
        table.add_row(f"[{colors[f.verdict]}]{f.verdict}[/]", escape(f.what), escape(f.detail), escape(f.mend))
    screen.console().print(table, soft_wrap=False)
