"""Several `ouro annotate` on one folder: one ingests, all make the same, and the last stops the server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from described import described
from PIL import Image as PILImage

from ouro.core.artifacts import read_all, read_shard, write_shard
from ouro.core.images import encode_png
from ouro.core.layout import Layout, shard_names
from ouro.core.params import Params
from ouro.core.processes import is_alive
from ouro.core.records import Description, Image, Scene
from ouro.core.state import State
from ouro.ingest.source import source_fingerprint
from tasks.annotator import fingerprint as fingerprint_of
from tasks.describe import describe
from tasks.processes.prefect_server import healthy, prefect_server
from tasks.settings import agreed
from tasks.sharing import FolderInUse, shared
from tasks.weights import ModelChanged

ROOT = Path(__file__).resolve().parent.parent
NAMES = [f"shard-{n:05d}.parquet" for n in range(4)]


class Ingest:
    """Writes `n` image shards and counts how often it was asked."""

    def __init__(self, layout: Layout, n: int = 1) -> None:
        self.layout, self.n, self.times = layout, n, 0

    def __call__(self) -> None:
        self.times += 1
        for name in NAMES[: self.n]:
            write_shard(self.layout.images / name, Image, [Image("0", "0.png", 8, 8, "0.png")], n_in=1)
        (self.layout.images / "0.png").write_bytes(encode_png(PILImage.new("RGB", (8, 8))))


HOLDING = """
import sys, time
from pathlib import Path
from tasks.sharing import shared
from ouro.core.layout import Layout

root = Path(sys.argv[1])
with shared(Layout(root, root / ".ouro/cache"), {"merge.max_tokens": 9}) as lease:
    print("alone" if lease.alone else "joined", flush=True)
    if sys.argv[2] == "ingest":
        from ouro.core.artifacts import write_shard
        from ouro.core.records import Image
        lease.ingest_once("c", lambda: write_shard(root / "images/shard-00000.parquet", Image, [], n_in=0))
        print("ingested", flush=True)
    sys.stdin.read()
"""


def holding(root: Path, what: str) -> subprocess.Popen[str]:
    """A process that has entered the folder and stays in it until its standard input ends."""
    command = [sys.executable, "-c", HOLDING, str(root), what]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(2 if what == "ingest" else 1):
        process.stdout.readline()
    return process


def test_who_comes_second_takes_what_the_first_has_ingested(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / ".ouro/cache")
    other, ingest = holding(tmp_path, "ingest"), Ingest(layout)
    with shared(layout, {"merge.max_tokens": 9}) as lease:
        lease.ingest_once("new", ingest)
    assert (lease.alone, ingest.times) == (False, 0)
    other.communicate()


def test_who_wants_something_else_of_the_folder_is_refused_while_others_work(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / ".ouro/cache")
    other = holding(tmp_path, "ingest")
    with (
        pytest.raises(FolderInUse, match=r"merge.max_tokens: 9 there, 7 here"),
        shared(layout, {"merge.max_tokens": 7}),
    ):
        pass
    other.communicate()
    with shared(layout, {"merge.max_tokens": 7}) as lease:
        assert lease.alone


def test_when_the_ingesting_process_dies_the_one_that_waited_ingests(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / ".ouro/cache")
    first = holding(tmp_path, "wait")  # inside, and has not ingested
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path), "ingest"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert waiting.stdout is not None
    assert waiting.stdout.readline().startswith("another `ouro annotate` is at work")
    first.kill()
    output = waiting.communicate()[0].split()
    assert output[-2:] == ["alone", "ingested"]
    assert shard_names(layout.images) == [NAMES[0]]


def test_ingest_runs_again_for_a_new_collection_and_only_then(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / ".ouro/cache")
    ingest, folder = Ingest(layout), layout.scenes / NAMES[0]

    def enter(collection: str | None, agreed: dict[str, object]) -> tuple[int, bool]:
        """How often ingest has run so far, and whether the scenes that were there are still there."""
        write_shard(folder, Scene, [], n_in=0)
        with shared(layout, agreed) as lease:
            lease.ingest_once(collection, ingest)
        return ingest.times, folder.is_file()

    same: dict[str, object] = {"ingest.limit": 0, "merge.max_tokens": 9}
    assert enter("a", same) == (1, False)
    assert enter("a", same) == (1, True)
    assert enter("a", same | {"merge.max_tokens": 7}) == (1, False)
    assert enter("a", same | {"ingest.limit": 5}) == (2, False)
    assert enter("a", same) == (3, False)
    assert enter("b", same) == (4, True)  # another collection with the same images
    ingest.n = 2
    assert enter("c", same) == (5, False)
    assert enter(None, same) == (6, True)  # a data set by name: read again, found the same


def test_an_ingest_that_failed_is_done_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / ".ouro/cache")
    ingest = Ingest(layout)

    def fails() -> None:
        ingest()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), shared(layout, {}) as lease:
        lease.ingest_once("a", fails)
    with shared(layout, {}) as lease:
        lease.ingest_once("a", ingest)
    assert ingest.times == 2


# ---- models that change in place ----------------------------------------------------------------------


@pytest.fixture
def annotating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Layout, Params]:
    """A folder with four shards of regions, none described, and params whose model is a copy."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    shutil.copytree(ROOT / "models/nano", tmp_path / "nano", ignore=shutil.ignore_patterns("rpn", "*.md"))
    params = Params.model_validate({"model": {"base": str(tmp_path / "nano"), "processes": 1, "dtype": "float32"}})
    layout = described(tmp_path / "out")
    for image in read_all(layout.images, Image):
        PILImage.new("RGB", (image.width, image.height), "red").save(layout.images / image.path)
    shutil.rmtree(layout.descriptions)
    return layout, params


def replace_weights(model: Path) -> None:
    """Other weights at the same path, of the same size and, set back afterwards, the same time."""
    from safetensors.torch import load_file, save_file

    file = model / "model.safetensors"
    before = file.stat()
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("norm.weight"))
    save_file({**weights, name: weights[name] * 1.5}, file, metadata={"format": "pt"})
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def makers(layout: Layout) -> set[str]:
    return {d.annotator for d in read_all(layout.descriptions, Description)}


def test_weights_that_change_between_two_shards_are_refused_and_nothing_is_mixed(
    annotating: tuple[Layout, Params],
) -> None:
    """The second shard was described by the new weights, and lay beside the first as if it were of one piece."""
    layout, params = annotating
    first, second, *_ = shard_names(layout.regions)
    regions = FolderCopy(layout.regions)
    with shared(layout, agreed(params)) as lease:
        lease.ingest_once("photos", lambda: None)
        regions.restore()
        describe.fn(first, layout, params)
        replace_weights(Path(params.model.base))
        with pytest.raises(ModelChanged, match=r"describe: .* were changed .* got .*, expected .* Fix: put"):
            describe.fn(second, layout, params)
    assert shard_names(layout.descriptions) == [first]


def test_an_interrupted_run_is_not_completed_with_other_weights(annotating: tuple[Layout, Params]) -> None:
    """Share 0/2 was made, then the weights changed, then share 1/2 was made, then share 0/2 looked for again."""
    layout, params = annotating
    first, second, *_ = shard_names(layout.regions)

    def run(name: str) -> set[str]:
        with shared(layout, agreed(params)) as lease:
            lease.ingest_once("photos", lambda: None)
            regions.restore()
            describe.fn(name, layout, params)
        return makers(layout)

    regions = FolderCopy(layout.regions)
    [old] = run(first)
    replace_weights(Path(params.model.base))
    [new] = run(second)
    assert new != old and shard_names(layout.descriptions) == [second]
    assert run(first) == {new}
    assert shard_names(layout.descriptions) == [first, second]


def test_weights_that_change_while_a_shard_is_made_leave_no_shard(
    annotating: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, params = annotating
    name = shard_names(layout.regions)[0]
    with pytest.raises(ModelChanged):
        describe.fn(name, layout, params, lambda n: replace_weights(Path(params.model.base)))
    assert shard_names(layout.descriptions) == []
    [annotator_name] = {d.annotator for d in read_shard(describe.fn(name, layout, params), Description)}
    assert annotator_name == fingerprint_of(params.model)[:16]


class FolderCopy:
    """The files of a folder, which a new agreement removes: here no stage before makes them again."""

    def __init__(self, folder: Path) -> None:
        self.files = {path: path.read_bytes() for path in folder.iterdir()}

    def restore(self) -> None:
        for path, content in self.files.items():
            path.write_bytes(content)


def test_the_fingerprint_of_a_collection_sees_new_changed_and_removed_files(tmp_path: Path) -> None:
    folder, manifest = tmp_path / "photos", tmp_path / "photos.csv"
    (folder / "sub").mkdir(parents=True)
    picture = folder / "sub/a.png"
    manifest.write_text("path\nphotos/sub/a.png\n")
    seen: list[tuple[str | None, str | None]] = []

    def look() -> None:
        seen.append((source_fingerprint(str(folder)), source_fingerprint(str(manifest))))

    look()
    picture.write_bytes(b"1")
    look()
    picture.write_bytes(b"22")
    look()
    os.utime(picture, ns=(0, 0))
    look()
    picture.unlink()
    look()
    for kind in (0, 1):
        assert len({pair[kind] for pair in seen[:4]}) == 4
    assert seen[4][1] == seen[0][1]
    assert source_fingerprint("hf:beans@train") is None


# ---- one server, several processes -------------------------------------------------------------------

USING = """
import sys
from pathlib import Path
from ouro.core.state import State
from tasks.processes.prefect_server import prefect_server

with prefect_server(State(Path(sys.argv[1]))) as server:
    print(server.api, server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_the_last_to_leave_stops_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by who had started it, it was gone under the others."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    owner = subprocess.Popen(
        [sys.executable, "-c", USING, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    api, pid = owner.stdout.readline().split()
    with prefect_server(State(tmp_path)) as server:
        assert (server.api, server.pid) == (api, int(pid))
        owner.communicate()
        assert owner.returncode == 0
        assert healthy(api, timeout=20.0)
    assert not is_alive(int(pid))


# ---- all of it ---------------------------------------------------------------------------------------


def files_below(out: Path) -> dict[str, bytes]:
    """All files of all stages, by their path below `out`."""
    stages = [out / stage for stage in ("images", "regions", "descriptions", "scenes", "qa")]
    return {str(p.relative_to(out)): p.read_bytes() for stage in stages for p in stage.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_annotations_of_one_folder_at_once_are_the_same_as_one(tmp_path: Path, prefect_api: str) -> None:
    import numpy as np
    from PIL import Image as PILImage

    from ouro.nano.scenes import draw_scene, render

    (tmp_path / "photos").mkdir()
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for i in range(4):
        PILImage.fromarray(render(draw_scene(np.random.default_rng(i)))).save(tmp_path / f"photos/{i}.png")

    def annotate(out: str, *words: str) -> subprocess.Popen[bytes]:
        options = ["--set", "ingest.shard_images=1", "--set", "propose.proposers=[rpn]", "--set", "model.processes=1"]
        command = [sys.executable, "-m", "cli.app", "annotate", "photos", "--out", out, *options, *words]
        return subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PREFECT_API_URL": prefect_api})

    for out, words in {"one": [[]], "two": [[], []], "shares": [["--shards", "0/2"], ["--shards", "1/2"]]}.items():
        assert [p.wait() for p in [annotate(out, *w) for w in words]] == [0] * len(words)
    files = [files_below(tmp_path / out) for out in ("one", "two", "shares")]
    assert len(files[0]) >= 5 * 4 * 2  # stages, shards, files of each
    assert files[0] == files[1] == files[2]
    assert (tmp_path / "shares/report/index.html").is_file()
