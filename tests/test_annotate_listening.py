"""What listens while images are annotated, and while a model is served: loopback alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from listening import listeners
from PIL import Image as PILImage
from serving import served_nano

from ouro.nano.scenes import draw_scene, render

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_annotation_listens_on_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for i in range(2):
        PILImage.fromarray(render(draw_scene(np.random.default_rng(i)))).save(tmp_path / f"photos/{i}.png")
    knobs = ("propose.proposers=[rpn]", "model.processes=2", "ingest.shard_images=1")
    command = [sys.executable, "-m", "cli.app", "annotate", "photos", "--out", "out"]
    command += [word for knob in knobs for word in ("--set", knob)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with subprocess.Popen(
        command, cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process, listeners(process.pid) as seen:  # fmt: skip
        output = process.communicate()[0]
    assert process.returncode == 0, output
    (line,) = [line for line in output.splitlines() if line.startswith("Prefect: ")]
    assert line.endswith("(password when asked: in .ouro/prefect-server.auth)"), "no terminal: its file alone"
    (server,) = seen.commands[("127.0.0.1", int(line.split()[1].rpartition(":")[2]))]
    assert "prefect server start" in server
    assert not seen.open_to_others
    password = (tmp_path / ".ouro/prefect-server.auth").read_text().strip().partition(":")[2]
    assert password not in output


@pytest.mark.slow
def test_a_served_model_of_the_tests_listens_on_loopback_alone(tmp_path: Path) -> None:
    with listeners() as seen, served_nano(tmp_path / "log") as (url, _):
        port = int(url.removesuffix("/v1").rpartition(":")[2])
    (server,) = seen.commands[("127.0.0.1", port)]
    assert "transformers serve" in server
    assert not seen.open_to_others
