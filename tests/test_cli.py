"""The command line: one clear error with exit code 2 for bad input, and what --set and --profile write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as PILImage

from cli import doctor
from cli.app import app, guarded
from ouro.core.params import Params, load_params
from ouro.core.params_text import ParamsError
from tasks.checkout import only_run
from tasks.report import notes
from tasks.settings import CommandOptions, agreed, apply_options, check_annotator, check_writer, write_params

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "bootstrap", "annotate", "train", "inspect", "export", "estimate", "merge-adapter", "train-job", "doctor", "report",
    "ablate", "up", "rounds",
)  # fmt: skip


def ouro(*words: str) -> int:
    """Run `ouro WORDS` in this process; its exit code."""
    try:
        return guarded(lambda: app(list(words)))
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    PILImage.new("RGB", (64, 48), "red").save(folder / "a.png")
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Ouro's params and profiles, as the working directory."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/paper.yaml").write_text((ROOT / "profiles/paper.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def foreign(checkout: Path) -> Path:
    """A model folder that is not nano's, as far as can be told without loading it."""
    folder = checkout / "models/foreign"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_vl"}')
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "train.kk=3"], "train.kk: unknown key; did you mean 'k'?"),
        (["--set", "propose.tau=1.5"], "propose.tau: got 1.5"),
        (["--set", "train.k"], "expected KEY=VALUE"),
        (["--params", "nowhere.yaml"], "nowhere.yaml: not found"),
        (["--profile", "papre"], "known profiles: paper"),
        (["--profile", "paper", "--params", "params.yaml"], "expected one of them"),
        (["--model", "models/none"], "model folder models/none: not found"),
        (
            ["--model", str(ROOT / "models/nano"), "--set", "model.adapter=models/none"],
            "adapter models/none: refused",
        ),
        (["--shards", "2/2"], "expected I/N with 0 <= I < N"),
        (["--backend", "openai"], "model.name: got nothing"),
        (["--backend", "openai", "--model", "m", "--url", "nonsense"], "model.url: got 'nonsense'"),
        (["--backend", "openai", "--model", "m", "--set", "model.adapter=a"], "got model.backend=openai"),
        (["--backend", "openai", "--model", "Qwen/Qwen2-VL-7B-Instruct"], "model.name Qwen/Qwen2-VL-7B-Instruct is no"),
    ],
)
def test_bad_input_is_one_error_without_a_traceback_and_exit_code_2(
    words: list[str], message: str, photos: Path, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ouro("annotate", str(photos), "--out", str(checkout / "out"), *words) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert not (checkout / "out").exists()


@pytest.mark.parametrize(
    "words",
    [["--limit", "-1"], ["--workers", "0"], ["--runner", "dask"], ["--backend", "tgi"], ["--shard", "0/2"]],
)
def test_an_option_that_cannot_be_is_refused_with_exit_code_2(
    words: list[str], photos: Path, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ouro("annotate", str(photos), "--out", str(checkout / "out"), *words) == 2
    assert words[0] in capfd.readouterr().err
    assert not (checkout / "out").exists()


def test_results_among_the_images_are_refused(photos: Path, checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The next run would annotate them."""
    (checkout / "models").symlink_to(ROOT / "models")
    assert ouro("annotate", str(photos), "--out", str(photos / "out")) == 2
    assert "expected a folder outside of it" in capfd.readouterr().err
    assert [p.name for p in photos.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("file,split\na.png,train\n", "unknown 'file'"), ("", "no entries"), ('path\n"a.png\n', "not CSV")],
)
def test_a_bad_manifest_is_one_error_before_anything_starts(
    text: str, message: str, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "models").symlink_to(ROOT / "models")
    (checkout / "list.csv").write_text(text)
    assert ouro("annotate", "list.csv", "--out", "out") == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.startswith("error: ")
    assert not (checkout / "out").exists()


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_folder_without_images_is_refused_before_anything_starts(
    kind: str, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = checkout / "pictures"
    if kind == "empty":
        folder.mkdir()
    assert ouro("annotate", str(folder), "--out", str(checkout / "out")) == 2
    err = capfd.readouterr().err
    assert str(folder) in err
    assert "expected" in err
    assert "Traceback" not in err


def test_several_wrong_params_are_reported_together(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ouro("annotate", ".", "--out", "out", "--set", "train.rank=0", "--set", "merge.word=3") == 2
    err = capfd.readouterr().err
    assert "2 problems" in err
    assert "train.rank" in err
    assert "merge.word" in err


def test_bootstrap_outside_of_a_checkout_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ouro("bootstrap") == 2
    assert "expected Ouro's checkout" in capfd.readouterr().err


def test_bootstrap_in_an_unpacked_archive_says_that_git_is_missing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / ".dvc").mkdir()
    (checkout / ".dvc/config").write_text("")
    (checkout / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    assert ouro("bootstrap", "--set", "train.k=1") == 2
    assert "not a git repository" in capfd.readouterr().err
    assert load_params().train.k == 5  # nothing was written


@pytest.mark.parametrize("name", ["photos #2", "trip: rome", "2024", "nano"])
def test_a_folder_of_any_name_is_annotated_itself(
    name: str, checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sent through YAML, these were the folder "photos", a mapping, a number and the nano world."""
    seen: list[Params] = []
    (checkout / name).mkdir()
    PILImage.new("RGB", (64, 48), "red").save(checkout / name / "a.png")

    def look(params: Params) -> None:
        seen.append(params)
        raise ParamsError("seen enough")

    monkeypatch.setattr("flows.annotate.check_annotator", lambda params: None)
    monkeypatch.setattr("flows.annotate.check_writer", look)
    assert ouro("annotate", name, "--out", "out", "--model", name) == 2
    assert capfd.readouterr().err == "error: seen enough\n"
    assert seen[0].ingest.source == str(checkout / name)
    assert seen[0].model.base == name


def test_annotate_without_a_model_keeps_the_one_of_the_params() -> None:
    params = apply_options(Params(), CommandOptions("photos"))
    assert params.model == Params().model
    assert params.ingest.source == str(Path.cwd() / "photos")


@pytest.mark.parametrize("source", ["hf:beans", "hf:beans@test", "hf:org/name@train"])
def test_a_data_set_by_name_reaches_ingest_as_it_is(source: str) -> None:
    assert apply_options(Params(), CommandOptions(source)).ingest.source == source


def test_options_are_shortcuts_for_params() -> None:
    options = CommandOptions(
        "photos", "Qwen/Qwen2-VL", "openai", "http://127.0.0.1:1/v1", limit=0, runner="threads", workers=3
    )
    params = apply_options(Params.model_validate({"ingest": {"limit": 9}}), options)
    assert (params.model.backend, params.model.url) == ("openai", "http://127.0.0.1:1/v1")
    assert (params.model.name, params.model.base) == ("Qwen/Qwen2-VL", "models/nano")
    assert (params.ingest.limit, params.runner.kind, params.runner.workers) == (0, "threads", 3)


def test_a_servers_model_needs_no_local_folder() -> None:
    params = load_params(ROOT / "profiles/paper.yaml", ("model.base=models/none",))
    params = apply_options(params, CommandOptions("photos", "Qwen/Qwen2-VL", "openai"))
    check_annotator(params)
    check_writer(params)
    assert not any("models/nano," in note for note in notes(params))


def test_what_only_makes_a_run_faster_leaves_its_results_the_same() -> None:
    fast = ("runner.kind=ray", "runner.workers=9", "model.processes=7", "model.concurrency=3", "train.epochs=1")
    file = ROOT / "params.yaml"
    assert agreed(load_params(file, fast)) == agreed(load_params(file))
    another = "float32" if load_params(file).model.dtype == "bfloat16" else "bfloat16"  # than `auto` is here
    for other in (
        "propose.tau=0.4",
        "seed=1",
        "ingest.limit=3",
        f"model.dtype={another}",
        "describe.prompts={simple: 1.0}",
    ):
        assert agreed(load_params(file, (other,))) != agreed(load_params(file))


def test_weights_changed_in_place_are_another_annotation(tmp_path: Path) -> None:
    """Two processes on one folder, one from before the change, would leave a mix."""
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_text("{}")
    params = load_params(ROOT / "params.yaml")
    params = params.model_copy(update={"model": params.model.model_copy(update={"base": str(tmp_path)})})
    before = agreed(params)
    assert agreed(params) == before
    (tmp_path / "model.safetensors").write_text("{ }")
    assert agreed(params) != before


def test_bootstrap_refuses_a_proposer_that_dvc_cannot_watch(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "models").symlink_to(ROOT / "models")
    monkeypatch.setattr("flows.bootstrap.check_checkout", lambda: None)
    before = (checkout / "params.yaml").read_text()
    assert ouro("bootstrap", "--set", "model.proposer=fasterrcnn_resnet50_fpn_v2") == 2
    err = capfd.readouterr().err
    assert err.count("error: ") == 1 and "got 'fasterrcnn_resnet50_fpn_v2', no file or folder" in err
    assert (checkout / "params.yaml").read_text() == before


def test_another_model_without_its_profile_is_refused_with_the_fix(
    photos: Path, foreign: Path, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ouro("annotate", str(photos), "--out", "out", "--model", str(foreign)) == 2
    err = capfd.readouterr().err
    assert err.count("error: ") == 1
    assert "Fix: --profile paper" in err
    assert not (checkout / "out").exists()


def test_the_note_on_nanos_annotations_names_the_profile() -> None:
    params = apply_options(load_params(ROOT / "params.yaml"), CommandOptions("photos", str(ROOT / "models/nano")))
    assert "--profile paper --model" in notes(params)[0]


def test_bootstrap_on_a_persons_own_folder_says_what_annotate_says(
    photos: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop(**_: object) -> None:
        raise ParamsError("no further")

    (checkout / "models").symlink_to(ROOT / "models")
    monkeypatch.setattr("flows.bootstrap.check_checkout", lambda: None)
    monkeypatch.setattr("flows.session.prefect_server", stop)
    assert ouro("bootstrap", "--set", f"ingest.source={photos}") == 2
    out = capfd.readouterr().out
    lines = notes(load_params())
    assert lines
    assert [line for line in out.splitlines() if line.startswith("note: ")] == [f"note: {note}" for note in lines]


def test_bootstrap_checks_what_params_name_before_it_writes_them(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.bootstrap.check_checkout", lambda: None)
    before = (checkout / "params.yaml").read_bytes()
    assert ouro("bootstrap", "--set", "model.base=models/typo") == 2
    assert "model folder models/typo: not found" in capfd.readouterr().err
    assert (checkout / "params.yaml").read_bytes() == before


def test_doctor_finds_nothing_amiss_in_the_shipped_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    findings = doctor.model()
    assert [f.what for f in findings] == ["params.yaml", "model.base", "model.proposer"]
    assert {f.verdict for f in findings} == {"ok"}


def test_doctor_names_what_a_model_folder_lacks(foreign: Path, checkout: Path) -> None:
    (checkout / "params.yaml").write_text("model: {base: models/foreign, proposer: models/foreign}")
    (foreign / "tokenizer.json").write_text("{}")
    (foreign / "preprocessor_config.json").write_text("{}")
    *_, files = doctor.model()
    assert (files.what, files.verdict) == ("model files", "note")
    assert files.detail == "not in models/foreign: chat_template.jinja or chat_template.json"
    (foreign / "model.safetensors").unlink()
    base = doctor.model()[1]
    assert (base.what, base.verdict) == ("model.base", "missing")
    assert "no *.safetensors" in base.detail
    assert base.mend.startswith("fetch it again")


def test_a_defect_is_not_dressed_up_as_bad_input(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    assert guarded(broken) == 1
    assert "Traceback" in capfd.readouterr().err


def test_a_second_bootstrap_in_one_checkout_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.bootstrap.check_checkout", lambda: None)
    before = (checkout / "params.yaml").read_bytes()
    with only_run():
        assert ouro("bootstrap", "--set", "train.k=1") == 2
    assert "another `ouro bootstrap` is at work" in " ".join(capfd.readouterr().err.split())
    assert (checkout / "params.yaml").read_bytes() == before


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_carries_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ouro(*command, "--help") == 0
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert " ".join(["ouro", *command]) in out


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'prefect', 'mlflow', 'dvc', 'pandas', 'numpy', 'pyarrow', 'PIL'}"
    code = f"import sys, cli.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_set_writes_params_yaml_shows_the_difference_and_keeps_comments(checkout: Path) -> None:
    before = Path("params.yaml").read_text()
    params, difference = write_params(None, None, ["train.k=3"])
    assert params.train.k == 3
    assert load_params() == params
    removed, added = [line for line in difference.splitlines() if line]
    assert removed.startswith("-  k: 5")
    assert added.startswith("+  k: 3")
    after = Path("params.yaml").read_text()
    assert after.count("#") == before.count("#")
    assert len(after.splitlines()) == len(before.splitlines())


def test_without_a_change_params_yaml_stays_byte_for_byte(checkout: Path) -> None:
    before = Path("params.yaml").read_bytes()
    assert write_params(None, None, ["train.k=5"])[1] == ""
    assert Path("params.yaml").read_bytes() == before


def test_a_bad_set_writes_nothing(checkout: Path) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ParamsError):
        write_params(None, None, ["train.k=3", "train.rank=-1"])
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize("text", ["", "train:\n", "train:  # all by default\nseed: 0\n"])
def test_set_fills_an_empty_section_and_an_empty_file(text: str, checkout: Path) -> None:
    Path("params.yaml").write_text(text)
    params, _ = write_params(None, None, ["train.k=3"])
    assert load_params() == params
    assert params.train.k == 3


def test_params_that_cannot_take_a_profile_stay_as_they_were(checkout: Path) -> None:
    Path("params.yaml").write_text("trian: {k: 3}\n")
    with pytest.raises(ParamsError, match="did you mean 'train'"):
        write_params(None, "paper", [])
    assert Path("params.yaml").read_text() == "trian: {k: 3}\n"


def test_a_profile_is_written_whole_over_what_was_set_before(checkout: Path) -> None:
    write_params(None, None, ["propose.tau=0.9"])
    params, _ = write_params(None, "paper", [])
    assert load_params() == params == load_params(Path("profiles/paper.yaml"))
    assert params.propose.tau == 0.5


def test_a_mapping_is_replaced_and_not_filled_up(checkout: Path) -> None:
    """The profile's prompts were added to those of params.yaml, which was then refused."""
    Path("other.yaml").write_text("describe: {prompts: {simple: 2.0}}\n")
    params, _ = write_params(Path("other.yaml"), None, [])
    assert load_params() == params
    assert params.describe.prompts == {"simple": 2.0}


def test_the_paper_profile_holds_the_values_that_the_paper_prints() -> None:
    """OURO, section 4.1: k is 5, LoRA of rank 8, 1e-4 with warm-up 0.1, 3 epochs, 4 a device, accumulation 8."""
    train = load_params(ROOT / "profiles/paper.yaml").train
    assert (train.k, train.rank, train.learning_rate, train.warmup_ratio) == (5, 8, 1e-4, 0.1)
    assert (train.epochs, train.batch_size, train.accumulation, train.bf16) == (3, 4, 8, True)
    assert train.region_dropout == 0.0
