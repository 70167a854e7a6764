"""The wheel by itself: built, installed beside the libraries of this environment, run far from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

PACKAGES = ("ouro", "tasks", "flows", "cli")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"  # what pip and uv call


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy without caches: a build/ folder in the checkout would bring modules back that are gone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=source, check=True, capture_output=True)
    (path,) = out.glob("ouro-*.whl")
    return path


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an environment that holds the wheel. The libraries, gigabytes of them, are those of this environment: its
    folder is on the path, but Python does not follow the .pth files in there, so the checkout is not.
    """
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin/python"
    install = ["uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python), str(wheel)]
    subprocess.run(install, check=True)
    (site,) = place.glob("lib/python3*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    return python.parent


def call(scripts: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment as a person does who has no checkout."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "UV_"))
    }
    program, *rest = command
    line = [str(scripts / program), *rest]
    return subprocess.run(line, cwd=cwd, env={**environment, "COLUMNS": "200"}, capture_output=True, text=True)


def test_the_wheel_holds_every_module_and_every_file_beside_them(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert packed == {name for name in listed if (ROOT / name).is_file()}
    assert {"ouro/rounds/ledger.py", "ouro/pages/templates/report.html.j2", "ouro/benchmarks/paper.json"} <= packed


def test_the_installed_command_runs_without_the_checkout(scripts: Path, tmp_path: Path) -> None:
    where = call(scripts, tmp_path, "python", "-c", "import ouro, cli; print(ouro.__file__, cli.__file__)")
    assert [Path(path).is_relative_to(scripts.parent) for path in where.stdout.split()] == [True, True]
    result = call(scripts, tmp_path, "ouro", "--help")
    assert result.returncode == 0 and "annotate" in result.stdout
    paper = call(scripts, tmp_path, "ouro", "paper", "--table", "5")  # reads ouro/benchmarks/paper.json
    assert paper.returncode == 0 and "OURO-7B" in paper.stdout


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["ouro", "annotate", ".", "--out", "out", "--profile", "paper"], "no file profiles/paper.yaml;.*checkout"),
        (["ouro", "bootstrap"], "no dvc.yaml and .dvc/config here; expected Ouro's checkout"),
        (["python", "-m", "flows.ingest"], "params.yaml: not found.* run ouro from its checkout"),
    ],
)
def test_what_needs_the_checkout_says_so(scripts: Path, tmp_path: Path, command: list[str], error: str) -> None:
    result = call(scripts, tmp_path, *command)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert re.search(error, " ".join((result.stdout + result.stderr).split()))


def test_a_model_that_only_the_checkout_has_is_named(scripts: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photos/a.png")
    result = call(scripts, tmp_path, "ouro", "annotate", "photos", "--out", "out")
    assert result.returncode == 2 and "models/nano" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_annotates(scripts: Path, tmp_path: Path) -> None:
    """Two images through five stages, with the shipped weights by their absolute path."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (64, 64), name).save(tmp_path / f"photos/{name}.png")
    nano = ROOT / "models/nano"
    overrides = [f"model.base={nano}", f"model.proposer={nano / 'rpn'}", "propose.proposers=[rpn]", "model.processes=1"]
    sets = [part for value in overrides for part in ("--set", value)]
    result = call(scripts, tmp_path, "ouro", "annotate", "photos", "--out", "out", *sets)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/report/index.html").is_file()  # its template is in the wheel
