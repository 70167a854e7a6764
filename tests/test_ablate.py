"""`ouro ablate`: the grid, its DVC matrix, what is made of the scores, and small real ablations."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from asked import Scripted, collection, fill, seeing

from cli.app import app, guarded
from flows.ablate import check_annotated, check_overwrites, plan, progress_line
from flows.arm import read_arm
from flows.matrix import Job, code, jobs, target, write_matrix
from ouro.ablations.figure import figure
from ouro.ablations.grid import NAMED, Arm, GridError, check_arms, default_name, grid, overrides, reference
from ouro.ablations.results import (
    MAIN,
    ResultsError,
    findings,
    over_seeds,
    page,
    paper_averages,
    paper_table,
    results,
    to_json,
)
from ouro.core.artifacts import ArtifactError
from ouro.core.code import imported_files
from ouro.core.layout import Layout
from ouro.core.params import load_params

ROOT = Path(__file__).resolve().parent.parent
K = [Arm(f"k-{k}", f"k = {k}", {"train.k": k}) for k in (0, 5)]


# ---- the grid --------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_the_last_key_fastest() -> None:
    arms = grid(["train.k=0,5", "train.selection=random,informative", "train.epochs=2"])
    assert [arm.name for arm in arms] == [
        "k-0_selection-random", "k-0_selection-informative", "k-5_selection-random", "k-5_selection-informative",
    ]  # fmt: skip
    assert arms[1].values == {"train.k": 0, "train.selection": "informative", "train.epochs": 2}
    assert arms[3].label == "k = 5, selection = informative"


def test_the_known_grids_are_the_papers() -> None:
    assert [arm.values["train.k"] for arm in grid(NAMED["k"])] == [0, 1, 2, 3, 5, 7]
    arms = [(arm.values["train.k"], arm.values["train.supervision"]) for arm in grid(NAMED["annotations"])]
    assert arms == [(3, "orig"), (3, "ours"), (5, "orig"), (5, "ours")]


def test_values_are_yaml_and_a_comma_in_brackets_separates_nothing() -> None:
    arms = grid(['benchmark.names=[],[docvqa, "chartqa"]', "train.bf16=true,false"])
    assert [arm.values["benchmark.names"] for arm in arms[::2]] == [[], ["docvqa", "chartqa"]]
    assert [arm.values["train.bf16"] for arm in arms[:2]] == [True, False]


def test_names_hold_no_dot_and_stay_apart() -> None:
    arms = grid(["train.region_dropout=0.5,0_5x"])
    names = [arm.name for arm in arms]
    assert len(set(names)) == 2
    assert not any("." in name for name in names), "DVC would look for a nested param"
    twins = [arm.name for arm in grid(["benchmark.suffix='a.b','a b'"])]
    assert twins == ["0-suffix-a_b", "1-suffix-a_b"]


def test_shown_regions_follow_the_trained_ones_unless_they_are_set() -> None:
    assert overrides({"train.k": 3}) == ("train.k=3", "benchmark.k=3")
    assert overrides({"train.k": 3, "benchmark.k": 1}) == ("train.k=3", "benchmark.k=1")
    assert overrides({"train.rank": 4}) == ("train.rank=4",)
    assert load_params(ROOT / "params.yaml", overrides({"train.k": 3})).benchmark.k == 3


def test_an_arm_is_compared_with_the_first_value_of_the_last_varied_key() -> None:
    arms = grid([*NAMED["annotations"], "train.epochs=2"])
    assert [reference(arm, arms).label for arm in arms] == [
        "k = 3, supervision = orig", "k = 3, supervision = orig",
        "k = 5, supervision = orig", "k = 5, supervision = orig",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["train.k"], "expected KEY=VALUE,VALUE"),
        (["train.k=0,,5"], "expected KEY=VALUE,VALUE"),
        (["train.k=5"], "got 1 arm, expected two or more"),
        ([], "(nothing): got 1 arm"),
        (["train.k=5,5"], "a value twice"),
        (["seed=0,1,2"], "Fix: --seeds"),
        (["ingest.limit=1,2"], "only keys below train., benchmark., propose., "),
        (["train=1,2"], "only keys below train., benchmark., propose., "),
        (["train.k=[,]"], "not valid YAML"),
    ],
)
def test_a_grid_that_cannot_be_says_what_was_expected(texts: list[str], message: str) -> None:
    with pytest.raises(GridError) as error:
        grid(texts)
    assert message in str(error.value)


def test_every_bad_arm_is_named_before_anything_runs() -> None:
    arms = grid(["train.k=0,99", "train.selection=random,best"])
    with pytest.raises(GridError) as error:
        check_arms(arms, lambda o: load_params(ROOT / "params.yaml", o))
    message = str(error.value)
    assert message.count("arm k = ") == 3
    assert "train.selection: got 'best'" in message


def test_a_set_key_replaces_that_of_a_known_grid_and_names_are_checked() -> None:
    matrix = plan("k", ["train.k=0,5"], 2, 1, None)
    assert [arm.values for arm in matrix.arms] == [{"train.k": 0, "train.epochs": 1}, {"train.k": 5, "train.epochs": 1}]
    assert (matrix.name, len(matrix.jobs)) == ("k", 4)
    assert plan(None, ["train.k=0,5", "train.rank=4,8", "train.epochs=2"], 1, None, None).name == "k-rank"
    assert default_name(["train.rank=4,8"]) == "rank"
    with pytest.raises(GridError, match="expected letters"):
        plan("k", [], 3, None, "../k")
    with pytest.raises(GridError, match="expected one of k, annotations"):
        plan("ks", [], 3, None, None)


def test_jobs_run_seed_by_seed_and_progress_says_how_long_it_takes() -> None:
    all_jobs = jobs(K, 2)
    assert [(job.arm.name, job.seed) for job in all_jobs] == [("k-0", 0), ("k-5", 0), ("k-0", 1), ("k-5", 1)]
    assert progress_line(all_jobs[0], 0, 18, 0.0) == "arm 1 of 18: k = 0, seed 0"
    assert progress_line(all_jobs[2], 2, 18, 150.0) == "arm 3 of 18, about 20 min left: k = 0, seed 1"


# ---- the matrix ------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git and DVC repository with the params; every dependency of an arm is there, empty."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for name in ("images", "annotations", "regions", "scenes", "qa"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "shard").write_text(name)
    (tmp_path / "models/nano").mkdir(parents=True)
    (tmp_path / "models/nano/model.safetensors").write_text("")
    for folder in code():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "module.py").write_text("")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def matrix(arms: list[Arm], seeds: int = 2, name: str = "k") -> Path:
    raw = yaml.safe_load(Path("params.yaml").read_text())
    return write_matrix(name, arms, seeds, [load_params(overrides=arm.overrides) for arm in arms], raw)


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_unchanged_matrix_has_the_same_bytes_and_is_not_written_again(checkout: Path) -> None:
    path = matrix(K)
    files = [path, path.with_name("arms.yaml")]
    before = [(f.read_bytes(), f.stat().st_mtime_ns, f.stat().st_ino) for f in files]
    matrix(K)
    assert [(f.read_bytes(), f.stat().st_mtime_ns, f.stat().st_ino) for f in files] == before
    for file in files:
        file.unlink()
    matrix(K)
    assert [f.read_bytes() for f in files] == [content for content, _, _ in before]


def test_a_stage_lists_the_folders_of_all_code_that_an_arm_imports_and_no_others(checkout: Path) -> None:
    deps = yaml.safe_load(matrix(K).read_text())["stages"]["arm"]["deps"]
    files = [p.relative_to(ROOT) for p in imported_files(["flows.arm"], ("ouro", "tasks", "flows", "cli"))]
    folders = [dep for dep in deps if (ROOT / dep).is_dir() and dep.split("/")[0] in ("ouro", "tasks", "flows", "cli")]
    assert {"flows", "tasks", "ouro/core", "ouro/training"} <= set(folders)
    below = {folder: [f for f in files if f.is_relative_to(folder)] for folder in folders}
    assert all(below.values())
    assert set(files) - {f for files_of_stage in below.values() for f in files_of_stage} == {Path("ouro/__init__.py")}
    assert not (ROOT / "ouro/__init__.py").read_text().strip()


def test_params_that_the_arms_set_are_not_read_from_params_yaml(checkout: Path) -> None:
    read = yaml.safe_load(matrix(K).read_text())["stages"]["arm"]["params"]
    assert {"seed", "train.rank", "train.epochs", "benchmark.dtype", "describe.prompt"} <= {
        p for p in read if p != read[-1]
    }
    assert "train.k" not in read and "benchmark.k" not in read
    assert read[-1] == {"ablations/k/arms.yaml": ["${item.arm}"]}


def test_every_stage_is_valid_for_dvc_and_names_its_target(checkout: Path) -> None:
    from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA

    arms = grid([*NAMED["annotations"], "train.region_dropout=0.5,0.75"])
    path = matrix(arms, 2, "mine")
    COMPILED_MULTI_STAGE_SCHEMA(yaml.safe_load(path.read_text()))
    listed = set(dvc("stage", "list", str(path), "--name-only").split())
    assert listed == {target("mine", job) for job in jobs(arms, 2)}
    assert len(listed) == 16


def test_a_changed_arm_reruns_alone(checkout: Path) -> None:
    """DVC itself says what is out of date; the command is one that only makes the folder."""

    def cheap(arms: list[Arm]) -> Path:
        path = matrix(arms, 1)
        content = yaml.safe_load(path.read_text())
        content["stages"]["arm"]["cmd"] = "mkdir -p ablations/k/${item.arm}/seed-${item.seed} && date +%N > " \
            "ablations/k/${item.arm}/seed-${item.seed}/scores.json"  # fmt: skip
        path.write_text(yaml.safe_dump(content))
        return path

    path = cheap(K)
    dvc("repro", str(path))
    assert json.loads(dvc("status", "--json", str(cheap(K)))) == {}
    changed = [K[0], Arm("k-5", "k = 5", {"train.k": 6})]
    assert list(json.loads(dvc("status", "--json", str(cheap(changed))))) == [target("k", Job(changed[1], 0))]
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  k: 5  ", "  k: 4  "))
    assert json.loads(dvc("status", "--json", str(cheap(K)))) == {}, "both k are the arms' own"
    Path("params.yaml").write_text(text.replace("rank: 8", "rank: 4"))
    assert len(json.loads(dvc("status", "--json", str(cheap(K))))) == 2


def test_an_arm_reads_back_what_it_sets(checkout: Path) -> None:
    matrix(grid(["benchmark.names=[],[docvqa]", "train.k=1"]))
    assert read_arm("k", "names-_docvqa_") == {"benchmark.names": ["docvqa"], "train.k": 1}
    with pytest.raises(GridError, match="got no arm 'x', expected one of names-"):
        read_arm("k", "x")


def test_every_arm_s_own_files_are_dependencies(checkout: Path) -> None:
    arms = grid(["model.base=models/nano,models/other"])
    deps = yaml.safe_load(matrix(arms, name="base").read_text())["stages"]["arm"]["deps"]
    assert {"models/nano", "models/other", "models/nano/rpn"} <= set(deps)
    deps = yaml.safe_load(matrix(K).read_text())["stages"]["arm"]["deps"]
    assert "models/nano" in deps and "models/nano/rpn" not in deps, "nothing is annotated anew"


def test_the_results_of_another_grid_are_not_overwritten(checkout: Path) -> None:
    other_matrix = plan("k", ["train.k=0,5"], 2, None, None)
    check_overwrites(other_matrix)
    matrix(other_matrix.arms)
    (checkout / "ablations/k/table.json").write_text("{}")
    check_overwrites(other_matrix)
    with pytest.raises(GridError, match=r"ablations/k: holds the results of another grid \(k-0, k-5\).*--name k to"):
        check_overwrites(plan("k", [], 2, None, None))


def test_an_arm_that_annotates_sees_the_rounds_images(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import arm

    seen: list[str] = []
    for stage in ("propose", "describe", "merge", "synthesize"):
        monkeypatch.setattr(arm, stage, lambda params, layout: seen.append((layout.images / "a").read_text()))
    pipeline = Layout(Path("data"), Path(".ouro/cache"))
    for folder in (pipeline.images, pipeline.annotations):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a").write_text("an image")
    values = {"propose.tau": 0.7}
    params = load_params(overrides=overrides(values))
    run_params = arm.annotated(params, values, pipeline)
    assert arm.annotated(params, values, pipeline) == run_params != pipeline
    assert seen == ["an image"] * 8
    assert arm.annotated(params, {"train.k": 1}, pipeline) == pipeline
    Path("dvc.lock").write_text("stages: {ingest: {outs: [{path: data/images, md5: other}]}}")
    assert arm.annotated(params, values, pipeline) != run_params, "other images"


def test_annotations_that_are_out_of_date_are_refused(checkout: Path) -> None:
    with pytest.raises(ArtifactError, match=r"test_questions\.json: not found; .*came without"):
        check_annotated({})
    Path("data/annotations").mkdir(parents=True, exist_ok=True)
    Path("data/annotations/test_questions.json").write_text("{}")
    check_annotated({"ablations/k/dvc.yaml:arm@k-0-0": [], "train": []})
    with pytest.raises(ArtifactError, match=r"stages describe, merge out of date.*run `ouro bootstrap` first"):
        check_annotated({"merge": [], "describe": ["changed deps"]})


# ---- scores ----------------------------------------------------------------------------------------


def test_an_arm_is_scored_beside_the_base_on_held_out_questions_and_named_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """i0 and i1, red and green, with and without a star. The base says no: of existence a half, whatever it is shown;
    the arm sees: everything, and nothing when it is shown the other. So accuracy 1, margin 1, base (0 + 1/2) / 2. The
    base's "no" is no answer of docvqa's two questions, and the arm's "a star" neither."""
    from tasks import ablation, asking

    monkeypatch.chdir(tmp_path)
    layout = collection(tmp_path, 2)
    seen, said_no = Scripted(seeing), Scripted()
    monkeypatch.setattr(asking, "annotator", lambda model, size, adapter: seen if adapter else said_no)
    here = ablation.place("k", "k-0", 1)
    here.adapter.mkdir(parents=True)
    (here.adapter / "adapter_model.safetensors").write_text("")
    (here.adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (here.adapter / "train_log.json").write_text(json.dumps([{"tokens": 10.0}, {"tokens": 30.0}]))
    fill(tmp_path / "data/benchmarks", ["docvqa"])
    overrides = ("benchmark.names=[docvqa]", "benchmark.k=0", f"model.base={ROOT / 'models/nano'}")
    params = load_params(ROOT / "params.yaml", overrides)
    about = {"arm": "k-0", "seed": 1}
    scores = ablation.score_arm(about, layout, params, here, lambda n: None)
    content = json.loads(scores.read_text())
    figures = content["figures"]
    assert (content["arm"], content["seed"], figures["tokens"]) == ("k-0", 1, 30.0)
    assert figures["image/accuracy/macro-average"] == figures["image/accuracy/color"] == 1.0
    assert figures["image/margin/macro-average"] == 1.0 and figures["image/shuffled/macro-average"] == 0.0
    assert figures["image/gain/macro-average"] == 0.75 and figures["image/base/macro-average"] == 0.25
    assert figures["image/margin gain/macro-average"] == 1.0 and figures["image/majority/macro-average"] == 0.5
    assert {name: figures[f"docvqa/k0/{name}"] for name in ("score", "base")} == {"score": 0.0, "base": 0.0}
    assert figures["docvqa/k0/constant"] > 0 and "docvqa/k0/shuffled" not in figures, "both are about one picture"
    assert not any(name.startswith("held-out") for name in figures)
    assert content["views"]["image"]["macro"]["n"] == 4
    assert (here.out / "k0/docvqa/predictions.jsonl").is_file()
    rows = pq.read_table(here.out / "predictions.parquet").to_pylist()
    assert [(row["model"], row["question_id"], row["score"]) for row in rows] == [
        ("k-0, seed 1", i, 1.0) for i in range(4)
    ]
    first, n_questions = scores.read_bytes(), len(seen.asked) + len(said_no.asked)
    ablation.score_arm(about, layout, params, here, lambda n: None)
    assert scores.read_bytes() == first and len(seen.asked) + len(said_no.asked) == n_questions


# ---- results ---------------------------------------------------------------------------------------


def test_mean_and_interval_over_seeds_are_students() -> None:
    """1, 2, 3: mean 2, deviation 1; t(0.975, 2) = 4.3027 (any table), so 2 +- 4.3027 / sqrt(3) = 2 +- 2.4841."""
    spread = over_seeds([1.0, 2.0, 3.0])
    assert spread.mean == 2.0
    assert spread.low == pytest.approx(-0.4841, abs=1e-4)
    assert spread.high == pytest.approx(4.4841, abs=1e-4)
    assert spread.beyond is False
    assert over_seeds([0.5])[1:] == (0.5, None, None)
    assert over_seeds([0.5]).beyond is None
    assert over_seeds([0.2, 0.2]).beyond is True


def scored(first: list[float], second: list[float], arms: list[Arm] = K) -> dict[tuple[str, int], dict[str, float]]:
    scores: dict[tuple[str, int], dict[str, float]] = {}
    for arm, values in zip(arms, (first, second), strict=True):
        for seed, value in enumerate(values):
            scores[arm.name, seed] = {
                MAIN: value, "image/accuracy/color": value + 0.1, "image/margin/macro-average": value / 2,
                "image/base/macro-average": 0.3, "image/majority/macro-average": 0.25, "tokens": 1e6,
            }  # fmt: skip
    return scores


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by 10 points, arms by 1 in each: paired, the difference is 1 +- 0."""
    arm_results = results(K, scored([0.40, 0.50, 0.60], [0.41, 0.51, 0.61]))
    d = arm_results[1].differences[MAIN]
    assert (d.mean, d.low, d.high) == pytest.approx((0.01, 0.01, 0.01))
    assert arm_results[0].differences == {} and arm_results[0].is_reference


def test_findings_say_honestly_whether_a_difference_is_beyond_its_interval() -> None:
    """Differences 1, 2, 3 points: 2 +- 2.48, within; 2, 2.1, 1.9: 2 +- 0.25, beyond."""
    within = findings(results(K, scored([0.4, 0.4, 0.4], [0.41, 0.42, 0.43])))
    assert within == ["k = 5 against k = 0: +2.0 [-0.5, +4.5] points, within its interval: no difference shown"]
    beyond = findings(results(K, scored([0.4, 0.4, 0.4], [0.42, 0.421, 0.419])))
    assert beyond == ["k = 5 against k = 0: +2.0 [+1.8, +2.2] points, beyond its interval"]
    assert findings(results(K, scored([0.4], [0.5]))) == ["k = 5 against k = 0: +10.0 points, one seed, so no interval"]


def test_a_missing_score_is_an_error() -> None:
    lacking = scored([0.4, 0.4], [0.4, 0.4])
    del lacking["k-5", 1]
    with pytest.raises(ResultsError, match=r"\('k-5', 1\)"):
        results(K, lacking)


def test_the_papers_tables_stand_beside_the_grids_they_are_of() -> None:
    assert paper_averages(K) == {"k-0": 77.3, "k-5": 80.0}
    arms = grid(NAMED["annotations"])
    table = paper_table(arms)
    assert table is not None and table.number == 6
    ours = (65.9 + 79.9 + 79.1 + 84.6 + 86.5 + 73.5) / 6
    assert paper_averages(arms)["k-3_supervision-ours"] == pytest.approx(ours)
    assert len(paper_averages(arms)) == 4
    assert paper_table(grid(["train.rank=4,8"])) is None


def test_the_page_keeps_measured_and_papers_figures_apart() -> None:
    arm_results = results(K, scored([0.4, 0.5, 0.6], [0.41, 0.51, 0.61]))
    text = page("k", arm_results)
    here, theirs = text.split("## Table 5 of the paper")
    assert "51.0 [26.2, 75.8]" in here and "80.0" not in here
    assert "| OURO-7B, k = 5 |" in theirs and "51.0" not in theirs
    json.dumps(to_json("k", results(K, scored([0.4], [0.5]))), allow_nan=False)


@pytest.mark.parametrize("arms", [K, grid(["train.k=0,5", "train.rank=8"]), grid(["train.selection=random,by-level"])])
def test_the_figure_has_the_same_bytes_for_the_same_results(arms: list[Arm]) -> None:
    arm_results = results(arms, scored([0.4, 0.5], [0.45, 0.5], arms))
    first = figure("k", arm_results)
    assert first.startswith(b"\x89PNG") and figure("k", arm_results) == first
    assert figure("k", results(arms, scored([0.4, 0.5], [0.45, 0.6], arms))) != first


def test_bad_grids_end_the_command_with_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["ks"], ["--set", "ingest.limit=0,1"], ["k", "--set", "train.k=0,99"]):
        assert guarded(lambda words=words: app(["ablate", *words], standalone_mode=False)) == 2
    output = capfd.readouterr().err
    assert "Traceback" not in output and output.count("Fix:") >= 2
