"""`ouro fetch` against a stand-in of the hub's HTTP API on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
from PIL import Image as PILImage
from safetensors.torch import save

from cli import fetch as command
from ouro.core.params import Params
from tasks import fetching
from tasks.fetching import FetchError, changed_files, fetch, read_note, wanted

COMMIT = "a" * 40
SOURCE = f"org/tiny@{COMMIT}"
WEIGHTS = save({"w": torch.ones(3)})
FILES = {
    "config.json": b'{"model_type": "qwen2_vl"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"raise SystemExit('code of the hub was run')",
    "onnx/model.safetensors": b"another",
    "README.md": b"# tiny",
}


class Hub:
    """The files of org/tiny; `seen`: (method, path) of the requests; `broken`: files that are sent otherwise."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.broken: dict[str, bytes] = {}
        self.cut_at = 0  # weights are sent up to here, and no further request for them is answered
        self.seen: list[tuple[str, str, str]] = []

    def info(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest(),
                **({"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
                   if name.endswith((".safetensors", ".bin")) else {}),
            }
            for name, data in self.files.items()
        ]  # fmt: skip
        return {"id": "org/tiny", "modelId": "org/tiny", "sha": COMMIT, "siblings": siblings, "private": False,
                "tags": [], "downloads": 0, "likes": 0}  # fmt: skip

    def tree(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "file", "path": s["rfilename"], "size": s["size"], "oid": s["blobId"],
                **({"lfs": {"oid": s["lfs"]["sha256"], "size": s["size"], "pointerSize": 130}} if "lfs" in s else {}),
            }
            for s in self.info()["siblings"]
        ]  # fmt: skip

    def ranges(self) -> list[str]:
        """Of the requests for files, in order; "" for a whole one."""
        return [span for method, path, span in self.seen if method == "GET" and "/resolve/" in path]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None: ...

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            state.seen.append((self.command, path, self.headers.get("Range", "")))
            if path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
                return self.send(200, json.dumps(state.tree()).encode(), {"Content-Type": "application/json"})
            if path.startswith("/api/models/org/tiny"):
                if not path.endswith(("/tiny", COMMIT, "/main")):
                    return self.send(404, b'{"error": "Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
                return self.send(200, json.dumps(state.info()).encode(), {"Content-Type": "application/json"})
            _, _, name = path.partition(f"/resolve/{COMMIT}/")
            if not path.startswith("/org/tiny/") or name not in state.files:
                return self.send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
            data = state.files[name]
            sent = state.broken.get(name, data)
            cut = bool(state.cut_at) and name.endswith(".safetensors") and body
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            etag = hashlib.sha256(data).hexdigest()
            head = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"',
                    "X-Linked-Size": str(len(data)), "Accept-Ranges": "bytes"}  # fmt: skip
            if start:
                head["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            if cut and start:
                return self.send(503, b"", {})
            self.send(206 if start else 200, sent[start:], head, body=body, cut=state.cut_at if cut else 0)

        def send(self, status: int, data: bytes, headers: dict[str, str], body: bool = True, cut: int = 0) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data[:cut] if cut else data)
            if cut:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield state
    server.shutdown()
    server.server_close()


def test_a_model_comes_whole_without_pickles_and_code(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "models/tiny"
    got = fetch(folder, SOURCE)
    assert (got.is_new, got.revision) == (True, COMMIT)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md", "fetched.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    note = read_note(folder)
    assert (note["source"], note["revision"]) == (SOURCE, COMMIT)
    assert note["files"]["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert sorted(path.name for path in folder.parent.iterdir() if not path.name.endswith(".lock")) == ["tiny"]


def test_what_is_there_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    fetch(tmp_path / "tiny", SOURCE)
    hub.seen.clear()
    assert not fetch(tmp_path / "tiny", SOURCE).is_new
    assert hub.seen == []


def test_the_same_source_gives_the_same_bytes(hub: Hub, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fetch(tmp_path / name, SOURCE)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_a_file_that_comes_in_damaged_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.broken["model.safetensors"] = bytes(len(WEIGHTS))
    with pytest.raises(FetchError, match=r"model\.safetensors came in damaged"):
        fetch(tmp_path / "tiny", SOURCE)
    assert not (tmp_path / "tiny").exists()
    hub.broken.clear()
    hub.seen.clear()
    fetch(tmp_path / "tiny", SOURCE)
    assert (tmp_path / "tiny/model.safetensors").read_bytes() == WEIGHTS
    gets = [path.rpartition("/")[2] for method, path, _ in hub.seen if method == "GET" and "/resolve/" in path]
    assert gets == ["model.safetensors"], "the others were there"


def test_a_cut_connection_is_taken_up_where_it_was_and_a_cut_fetch_by_whole_files(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    hub.files["model.safetensors"] = data = save({"w": torch.arange(5000.0)})
    hub.cut_at = 8192
    with pytest.raises(FetchError, match="org/tiny"):
        fetch(tmp_path / "tiny", SOURCE)
    assert "bytes=8192-" in hub.ranges()
    assert not (tmp_path / "tiny").exists()
    hub.cut_at = 0
    hub.seen.clear()
    fetch(tmp_path / "tiny", SOURCE)
    assert (tmp_path / "tiny/model.safetensors").read_bytes() == data
    assert hub.ranges() == [""], "the other files were there"


def test_two_at_once_are_refused(hub: Hub, tmp_path: Path) -> None:
    from tasks.processes.locks import exclusive

    (tmp_path / ".tiny.fetch").mkdir()
    with (
        exclusive(tmp_path / ".tiny.fetch.lock"),
        pytest.raises(FetchError, match="another `ouro fetch` is bringing it"),
    ):
        fetch(tmp_path / "tiny", SOURCE)


def test_a_repository_of_pickles_is_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(FetchError, match=r"got no \*\.safetensors among its 5 files"):
        fetch(tmp_path / "tiny", SOURCE)
    assert not (tmp_path / "tiny").exists()


def test_an_index_that_leads_elsewhere_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors.index.json"] = b'{"weight_map": {"w": "pytorch_model.bin"}}'
    with pytest.raises(FetchError, match="what came is refused"):
        fetch(tmp_path / "tiny", SOURCE)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("org/none@main", r"org/none@main: not to be had: RepositoryNotFoundError: .* Fix: correct its name"),
        ("org/tiny@gone", r"org/tiny@gone: not to be had: RevisionNotFoundError"),
        ("no name at all", "not to be had: HFValidationError"),
        ("torchvision:resnet18", "got the network 'resnet18', expected one of fasterrcnn_resnet50_fpn_v2"),
        ("", "params name no source. Fix: add it under fetch:"),
    ],
)
def test_a_source_that_is_none_is_one_sentence(hub: Hub, tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        fetch(tmp_path / "tiny", source)
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "tiny").exists()


def test_offline_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"HF_ENDPOINT .* got http://127\.0\.0\.1:9, where nothing listens"):
        fetch(tmp_path / "tiny", SOURCE)


def test_a_folder_of_something_else_is_kept_unless_forced(hub: Hub, tmp_path: Path) -> None:
    mine = tmp_path / "tiny/mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(FetchError, match="got files of unknown origin, expected org/tiny"):
        fetch(tmp_path / "tiny", SOURCE)
    assert mine.read_text() == "mine"
    assert fetch(tmp_path / "tiny", SOURCE, force=True).is_new
    assert not mine.exists()


def test_check_reads_the_digests(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tiny"
    overrides = [f"model.base={folder}", "propose.proposers=[ocr]", f"fetch={{{folder}: {SOURCE}}}"]
    params = tmp_path / "params.yaml"
    params.write_text("seed: 0\n")
    assert command.run(None, params, overrides, check=True) == 1
    assert "not there" in capsys.readouterr().out
    assert command.run(None, params, overrides) == 0
    assert f"revision {COMMIT}" in capsys.readouterr().out
    assert command.run(None, params, overrides, check=True) == 0
    (folder / "config.json").write_text("{}")
    assert changed_files(folder) == ["config.json"]
    assert command.run(None, params, overrides, check=True) == 1
    assert "changed or missing: config.json" in capsys.readouterr().out


def test_only_what_the_params_use_is_wanted() -> None:
    params = Params.model_validate(
        {
            "model": {"base": "models/big", "proposer": "models/net"},
            "propose": {"proposers": ["rpn"], "grounding_model": "models/dino"},
            "fetch": {"models/big": "org/big@1", "models/dino": "org/dino@1"},
        }
    )
    assert wanted(params) == {Path("models/big"): "org/big@1", Path("models/net"): ""}


def test_every_profile_names_where_its_models_come_from() -> None:
    from ouro.core.params import load_params

    for profile in sorted(Path("profiles").glob("*.yaml")):
        for folder, source in wanted(load_params(profile)).items():
            assert source, f"{profile}: no source of {folder}"
            assert source.startswith(fetching.TORCHVISION) or len(source.partition("@")[2]) == 40, "a pinned revision"


def test_torchvisions_network_becomes_a_folder_that_proposes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Random weights in the form of a download; the folder proposes what the network by its name does."""
    from torchvision.models import get_model

    from ouro.core.params import Propose
    from ouro.vision import faster_rcnn

    network = "fasterrcnn_mobilenet_v3_large_320_fpn"
    torch.manual_seed(0)
    state = get_model(network, weights=None, weights_backbone=None).state_dict()
    monkeypatch.setattr(faster_rcnn, "_download", lambda name, weights: dict(state))
    folder = tmp_path / network
    got = fetch(folder, f"torchvision:{network}/COCO_V1")
    assert got.revision.startswith("https://download.pytorch.org/models/fasterrcnn_mobilenet_v3_large_320_fpn-")
    assert faster_rcnn.is_network(str(folder))
    assert faster_rcnn.network_fingerprint(str(folder), "COCO_V1").startswith(f"{network}:")
    picture = PILImage.effect_noise((96, 96), 80).convert("RGB")
    params = Propose(tau=0.0)
    proposals = faster_rcnn.FasterRCNNProposer.from_params(params, str(folder)).propose([picture])
    assert proposals == faster_rcnn.FasterRCNNProposer.from_params(params, network).propose([picture])
    assert proposals[0]
