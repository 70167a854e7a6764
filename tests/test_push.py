"""`ouro push` against a stand-in of the hub on the loopback: what is sent, what is said, and that no token is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from annotated_folder import write_annotated
from hub import TOKEN, Hub, Repo, serve_hub
from huggingface_hub import DatasetCard, ModelCard

from cli import export
from cli import push as command
from tasks.pushing import PushError, PushFailed

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    export.run(write_annotated(root / "photos"), root / "swift", "ms-swift")
    return root / "swift"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """An export: three pictures of some 1 kB, two files of rows, counts and the card."""
    import shutil

    return Path(shutil.copytree(made, tmp_path / "swift"))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Files of an adapter's names; the weights are so large that the hub wants them by LFS."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "draws.parquet").write_bytes(b"PAR1")
    (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n\n# x\n\n## Scores\n\nNone.\n\n## Limits\n\n- y\n")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in (
        "HF_HUB_OFFLINE",
        "HF_TOKEN",
        "HF_OIDC_RESOURCE",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    with serve_hub() as stand_in:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", stand_in.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        yield stand_in


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_export_becomes_a_private_dataset_with_all_its_files(
    hub: Hub, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command.run(folder, "me/photos")
    repo = hub.repos["dataset", "me/photos"]
    assert repo.private and repo.files == contents(folder)
    assert repo.commits == [f"ouro push: dataset, {len(repo.files)} files"]
    said = capfd.readouterr()
    assert f"to {hub.url}/datasets/me/photos (made if missing, then private)" in said.out
    assert "licence: none chosen" in said.out and "token: HF_TOKEN" in said.out
    assert TOKEN not in said.out + said.err


@pytest.mark.parametrize("xet", [False, True])
def test_what_is_there_is_not_sent_again(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, xet: bool) -> None:
    """Also by the streamed pipeline of huggingface_hub, which is used where hf_xet is there: here without large files,
    since xet's storage server cannot be stood in for."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", not xet)
    hub.small = 10_000_000 if xet else hub.small
    command.run(folder, "me/photos")
    command.run(folder, "me/photos", license="cc-by-4.0")
    repo = hub.repos["dataset", "me/photos"]
    assert len(repo.commits) == 2 and repo.files == contents(folder)
    assert DatasetCard(repo.files["README.md"].decode()).data["license"] == "cc-by-4.0"
    command.run(folder, "me/photos")
    assert len(repo.commits) == 2


def test_an_adapter_becomes_a_model_with_its_card(hub: Hub, adapter: Path) -> None:
    command.run(adapter, "me/lora", private=False, license="apache-2.0", base_model="Qwen/Qwen2-VL-7B-Instruct")
    repo = hub.repos["model", "me/lora"]
    assert not repo.private
    assert set(repo.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}  # no draws.parquet
    assert repo.files["adapter_model.safetensors"] == bytes(range(256)) * 100
    data = ModelCard(repo.files["README.md"].decode()).data.to_dict()
    assert data == {
        "library_name": "peft", "license": "apache-2.0", "base_model": "Qwen/Qwen2-VL-7B-Instruct",
        "base_model_relation": "adapter",
    }  # fmt: skip


def test_an_interrupted_upload_goes_on(hub: Hub, adapter: Path) -> None:
    hub.refusals["/commit/"] = [(500, "on fire")]
    with pytest.raises(PushFailed, match=r"the hub failed \(500\)\. Fix: run the same command again"):
        command.run(adapter, "me/lora")
    assert len(hub.uploads) == 1
    command.run(adapter, "me/lora")
    assert len(hub.uploads) == 1  # the weights were there
    assert hub.repos["model", "me/lora"].files["adapter_model.safetensors"] == bytes(range(256)) * 100


def test_scores_of_runs_go_into_the_card(hub: Hub, adapter: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs/boot"
    (run / "docvqa").mkdir(parents=True)
    figure = {"value": 0.5, "low": 0.45, "high": 0.55, "n": 100}
    (run / "docvqa/scores.json").write_text(
        json.dumps({"benchmark": "docvqa", "title": "DocVQA", "split": "val", "protocol": "", "reported": "anls",
                    "macro": False, "points": 100, "figures": {"anls": {"micro": figure}}})
    )  # fmt: skip
    command.run(adapter, "me/lora", scores=[run])
    card = hub.repos["model", "me/lora"].files["README.md"].decode()
    assert "| `boot` | `DocVQA` | `anls` | 50.0 [45.0, 55.0] | 100 |" in card and "\n## Limits\n\n- y\n" in card


def test_a_dry_run_says_and_does_nothing(hub: Hub, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    command.run(folder, "me/photos", license="mit", dry_run=True)
    assert hub.requests == [] and contents(folder) == before
    said = capfd.readouterr().out
    assert "push, dry run: dataset" in said and "licence: mit; nothing was sent" in said


# ---- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "private", "wanted", "message"),
    [
        ("dataset", False, True, "is there already and public; a push does not change that. Fix: say --public"),
        ("dataset", True, False, "is there already and private"),
        ("model", True, True, "there is a model of that name already, and this is a dataset"),
    ],
)
def test_a_repository_that_is_not_the_wanted_one_is_left_alone(
    hub: Hub, folder: Path, kind: str, private: bool, wanted: bool, message: str
) -> None:
    hub.repos[kind, "me/photos"] = Repo(private)
    with pytest.raises(PushError, match=message):
        command.run(folder, "me/photos", private=wanted)
    assert list(hub.repos) == [(kind, "me/photos")] and hub.repos[kind, "me/photos"].files == {}


def test_a_repository_of_somebody_else_is_refused(hub: Hub, folder: Path) -> None:
    with pytest.raises(
        PushError, match=r"this token has no right to write there \(403: .*namespace\)\. Fix: use a token"
    ):
        command.run(folder, "them/photos")


def test_a_wrong_token_is_said_and_not_shown(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_token")
    with pytest.raises(PushError, match=r"the hub does not know this token \(401") as error:
        command.run(folder, "me/photos")
    assert "hf_wrong_token" not in str(error.value) and error.value.__cause__ is None


def test_a_token_that_the_hub_repeats_is_not_shown(hub: Hub, folder: Path) -> None:
    hub.refusals["/preupload/"] = [(403, f"token {TOKEN} may only read")]
    with pytest.raises(PushError, match=r"token \*\*\* may only read"):
        command.run(folder, "me/photos")


@pytest.mark.parametrize(("status", "message"), [(413, "takes no file of that size"), (400, "refused what was sent")])
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, folder: Path, status: int, message: str) -> None:
    hub.refusals["/commit/"] = [(status, "because")]
    with pytest.raises(PushError, match=f"{message} .{status}: because"):
        command.run(folder, "me/photos")


def test_a_card_that_the_hub_refuses_is_said_before_anything_is_sent(hub: Hub, folder: Path) -> None:
    hub.refusals["/validate-yaml"] = [(400, "nonsense")]
    with pytest.raises(PushError, match=r"the hub refused what was sent .400: nonsense"):
        command.run(folder, "me/photos")
    assert hub.repos["dataset", "me/photos"].files == {}


def test_without_a_token_nothing_is_asked(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PushError, match="no token of the hub: neither HF_TOKEN nor a login"):
        command.run(folder, "me/photos")
    assert hub.requests == []


def test_offline_is_a_sentence(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PushError, match="HF_HUB_OFFLINE is set"):
        command.run(folder, "me/photos")


def test_a_hub_that_does_not_answer_is_a_sentence(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PushFailed, match=r"cannot be reached \(ConnectError\)"):
        command.run(folder, "me/photos")


@pytest.mark.parametrize("endpoint", ["http://example.org", "https://user:secret@example.org"])
def test_a_token_goes_to_no_place_where_it_can_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    with pytest.raises(PushError, match="HF_ENDPOINT: got an address") as error:
        command.run(folder, "me/photos")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("repo", "options", "message"),
    [
        ("photos", {}, "OWNER/NAME: got 'photos'"),
        ("me/../x", {}, "OWNER/NAME: got"),
        ("me/photos", {"base_model": "x"}, "--base-model: got 'x'"),
        ("me/photos", {"base_model": "a/b"}, "a dataset has none"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    hub: Hub, folder: Path, repo: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(PushError, match=message):
        command.run(folder, repo, **options)  # pyright: ignore[reportArgumentType]
    assert hub.requests == []


def test_a_folder_of_something_else_is_refused(hub: Hub, tmp_path: Path) -> None:
    annotated = write_annotated(tmp_path / "photos")
    with pytest.raises(PushError, match=r"neither an export .* nor an adapter .*Fix: ouro export"):
        command.run(annotated, "me/photos")
    export.run(annotated, tmp_path / "named", "llava", images="reference")
    with pytest.raises(PushError, match="name pictures by their paths on this machine"):
        command.run(tmp_path / "named", "me/photos")
    assert hub.requests == []


def test_a_link_in_the_folder_is_refused(hub: Hub, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "images/x.png").symlink_to(tmp_path / "secret")
    with pytest.raises(PushError, match="got a link, expected files of its own"):
        command.run(folder, "me/photos")
    assert hub.requests == []


@pytest.mark.parametrize("text", ["# no head\n", "---\n- a\n---\n", "---\na: [\n---\n", ""])
def test_a_card_without_metadata_is_refused(hub: Hub, folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    with pytest.raises(PushError, match=r"README\.md: (its head is no YAML|got no metadata)"):
        command.run(folder, "me/photos")
    (folder / "README.md").unlink()
    with pytest.raises(PushError, match=r"README\.md: not found"):
        command.run(folder, "me/photos")


def test_names_of_files_are_no_patterns_and_hidden_files_stay(hub: Hub, folder: Path) -> None:
    (folder / "a[b]*.txt").write_text("1")
    (folder / ".env").write_text("SECRET=1")
    command.run(folder, "me/photos")
    files = hub.repos["dataset", "me/photos"].files
    assert files["a[b]*.txt"] == b"1" and ".env" not in files


def test_the_command_line_names_the_hub_of_the_environment_and_no_token(hub: Hub, folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_DEBUG": "1",
                   "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}  # fmt: skip
    words = [sys.executable, "-m", "cli.app", "push", str(folder), "me/photos", "--public"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/datasets/me/photos" in done.stdout and TOKEN not in done.stdout + done.stderr
