"""README.md of exports and adapters: metadata as the hub documents it, foreign text as text, the same bytes again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from annotated_folder import write_annotated
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard import metadata_load
from hypothesis import given
from hypothesis import strategies as st

from cli import export as command
from ouro.core.cards import (
    NOT_SCORED,
    ScoreRow,
    code_block,
    code_span,
    is_hub_name,
    make_card,
    public_values,
    replace_section,
    score_table,
    size_category,
    table,
)
from ouro.core.counts import StageCount
from ouro.core.layout import layout_of
from ouro.core.params import Params
from ouro.export.card import Provenance, make_dataset_card
from ouro.export.folder import ALL_FORMATS, ExportCounts
from ouro.training.card import AdapterFacts, make_adapter_card
from ouro.training.job import TrainSummary
from tasks import dataset_card, train

# hub-docs/datasetcard.md: the keys that a dataset's metadata may have, and the values of those with closed lists.
DATASET_KEYS = set(
    "language license license_name license_link license_details tags annotations_creators language_creators "
    "language_details pretty_name size_categories source_datasets task_categories task_ids paperswithcode_id configs "
    "dataset_info extra_gated_fields train-eval-index multilinguality".split()
)
CREATORS = {"crowdsourced", "found", "expert-generated", "machine-generated", "no-annotation", "other"}
TASKS = {"image-to-text", "visual-question-answering", "object-detection", "image-text-to-text"}
EVIL = "x` <script>alert(1)</script> [a](http://evil)\n---\nlicense: mit\n---\n# Owned \\| ``` **b** | y"


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_annotated(tmp_path_factory.mktemp("annotated") / "photos")


def counts(**changes: Any) -> ExportCounts:
    values: dict[str, Any] = {
        "format": "ms-swift", "images_in": 5, "images_out": 3, "images_rejected": {"held_out": 1, "not_described": 1},
        "conversations": {"description": 3}, "turns": {"description": 3}, "turns_rejected": {"reserved_text": 2},
        "corrections": {},
    }  # fmt: skip
    return ExportCounts(**{**values, **changes})


def provenance(name: str = "photos", **changes: Any) -> Provenance:
    values: dict[str, Any] = {
        "annotator": "qwen", "version": "0.1.0", "code": "c0de", "params": {"seed": 0}, "digests": {"scenes": "d1"},
        "stages": [StageCount("merge", 4, 3, {"no_descriptions": 1})],
    }  # fmt: skip
    return Provenance(name, **{**values, **changes})


# ---- the parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (9_999, "1K<n<10K"), (10_000, "10K<n<100K"), (10**6, "1M<n<10M"),
     (10**9, "1B<n<10B"), (10**11, "100B<n<1T"), (10**12, "n>1T")],
)  # fmt: skip
def test_a_number_of_rows_has_the_hubs_name(n: int, name: str) -> None:
    assert size_category(n) == name


@given(st.text())
def test_a_code_span_is_one_line_and_nothing_in_it_closes_it(text: str) -> None:
    span = code_span(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    inner = span[len(fence) : -len(fence)]
    assert "\n" not in span and "\r" not in span and span.endswith(fence)
    assert not any(len(run) == len(fence) for run in re.findall("`+", inner))


def test_a_cell_of_a_table_ends_where_its_row_says() -> None:
    lines = table(["a", "b"], [[code_span("x\\| <b>"), "1"]]).splitlines()
    assert lines[2] == "| `x\\¦ <b>` | 1 |" and all(line.count("|") == 3 for line in lines)


def test_a_code_block_outlasts_fences_in_its_lines() -> None:
    assert code_block(["a", "````", "b\n```"]) == "`````text\na\n````\nb ```\n`````"


def test_the_head_of_a_card_holds_foreign_text_as_one_string() -> None:
    card = make_card({"pretty_name": EVIL, "tags": [EVIL, "---"], "license": ""}, "t", {"One": "1", "Two": "2"})
    data = DatasetCard(card).data.to_dict()
    assert data == {"pretty_name": EVIL, "tags": [EVIL, "---"]}


def test_one_section_is_replaced_and_the_others_stay() -> None:
    card = make_card({"tags": ["a"]}, "t", {"One": "1", "Scores": NOT_SCORED, "Two": "2"})
    assert replace_section(card, "Scores", "5") == card.replace(NOT_SCORED, "5")
    assert replace_section(card, "Two", "5") == card.replace("\n2\n", "\n5\n")
    with pytest.raises(ValueError, match="without a section 'Three'"):
        replace_section(card, "Three", "5")


def test_scores_stand_with_their_intervals() -> None:
    row = ScoreRow("boot", "DocVQA", "anls", 61.25, 59.0, 63.04, 5349)
    assert "| `boot` | `DocVQA` | `anls` | 61.2 [59.0, 63.0] | 5,349 |" in score_table([row])
    assert score_table([]) == NOT_SCORED


def test_params_show_no_path_and_no_server() -> None:
    params = {"model.url": "http://10.0.0.1", "ingest.source": "/home/me/photos", "x": ["/a/b", 1], "seed": 0}
    assert public_values(params) == {"ingest.source": "photos", "x": ["b", 1], "seed": 0}


@pytest.mark.parametrize(("name", "expected"), [("me/x", True), ("x", False), ("/tmp/x", False), ("a/b/c", False)])
def test_names_on_the_hub_have_an_owner(name: str, expected: bool) -> None:
    assert is_hub_name(name) is expected


# ---- the card of an export ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_every_export_has_a_card_whose_metadata_are_the_hubs(annotated: Path, tmp_path: Path, name: str) -> None:
    command.run(annotated, tmp_path / "out", name)
    readme = tmp_path / "out/README.md"
    data: dict[str, Any] = metadata_load(readme) or {}
    assert data == DatasetCard.load(readme).data.to_dict()
    assert set(data) <= DATASET_KEYS and "license" not in data
    assert set(data["annotations_creators"]) <= CREATORS and set(data["task_categories"]) <= TASKS
    assert data["size_categories"] == ["n<1K"] and data["pretty_name"] == "photos"
    text = readme.read_text()
    assert "&id" not in text and "No licence is chosen" in text and "No benchmark has been run." in text
    assert "| `images: held_out` | 1 |" in text and "Control tokens in texts, broken" in text
    assert "| `merge` | 4 | 3 | 1 |" in text and "| `merge` | `no_descriptions` | 1 |" in text
    assert str(annotated) not in text and str(tmp_path) not in text


@pytest.mark.parametrize("name", ["ms-swift", "llava", "sharegpt", "trl", "webdataset"])
def test_the_files_that_a_card_names_are_there(annotated: Path, tmp_path: Path, name: str) -> None:
    command.run(annotated, tmp_path / "out", name)
    data = metadata_load(tmp_path / "out/README.md") or {}
    patterns = [file["path"] for config in data["configs"] for file in config["data_files"]]
    assert patterns and all(list((tmp_path / "out").glob(pattern)) for pattern in patterns)


def test_a_card_names_no_file_that_was_not_written(annotated: Path, tmp_path: Path) -> None:
    command.run(annotated, tmp_path / "out", "ms-swift", contents=["description"])
    data = metadata_load(tmp_path / "out/README.md") or {}
    assert [config["config_name"] for config in data["configs"]] == ["default"]


def test_datasets_reads_a_pushed_export_by_its_card(annotated: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    command.run(annotated, tmp_path / "out", "ms-swift")
    rows = load_dataset(str(tmp_path / "out"), "grounding", split="train", cache_dir=str(tmp_path / "cache"))
    assert {row["channel"] for row in rows} == {"regions", "grounding"}  # pyright: ignore


def test_the_same_export_gives_the_same_card(annotated: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        command.run(annotated, tmp_path / name, "llava")
    assert (tmp_path / "one/README.md").read_bytes() == (tmp_path / "two/README.md").read_bytes()


def test_foreign_text_in_a_card_is_text() -> None:
    about = provenance(
        EVIL, annotator=EVIL, params={EVIL: EVIL}, stages=[StageCount(EVIL, 1, 0, {EVIL: 1})],
        scores=[ScoreRow(EVIL, EVIL, EVIL, 1, 0, 2, 3)],
    )  # fmt: skip
    card = make_dataset_card(counts(images_rejected={EVIL: 2}), ["train.jsonl"], ["description"], about)
    data = DatasetCard(card).data.to_dict()
    assert "license" not in data and set(data) <= DATASET_KEYS and "\n" not in data["pretty_name"]
    assert "\n# Owned" not in card and "\n---\n" not in card.split("---\n", 2)[2].replace("|\n", "")
    for line in card.splitlines():
        if line.startswith("| "):
            assert line.count("|") in (3, 4, 5, 6)


def test_a_card_says_what_people_corrected_and_what_scored() -> None:
    scores = [ScoreRow("boot", "DocVQA", "anls", 61.2, 59.0, 63.0, 5349)]
    card = make_dataset_card(
        counts(corrections={"description": 2, "stale": 1}), ["train.jsonl"], ["description"], provenance(scores=scores)
    )
    assert DatasetCard(card).data["annotations_creators"] == ["machine-generated", "other"]
    assert "| `description` | 2 |" in card and "| `stale` | 1 |" in card and "61.2 [59.0, 63.0]" in card


def test_a_card_of_what_nobody_corrected_says_so() -> None:
    card = make_dataset_card(counts(corrections={"stale": 1}), [], ["description"], provenance())
    assert DatasetCard(card).data["annotations_creators"] == ["machine-generated"]
    assert "No person has corrected anything." in make_dataset_card(counts(), [], ["description"], provenance())


def test_scores_of_a_benchmark_that_has_run_are_in_the_card(annotated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(annotated, data)
    run = data / "scores/runs/base-k0"
    (run / "docvqa").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"label": "base, k = 0"}))
    figure = {"value": 0.5, "low": 0.45, "high": 0.55, "n": 100}
    (run / "docvqa/scores.json").write_text(
        json.dumps({"benchmark": "docvqa", "title": "DocVQA", "split": "val", "protocol": "", "reported": "anls",
                    "macro": False, "points": 100, "figures": {"anls": {"micro": figure}}})
    )  # fmt: skip
    command.run(data, tmp_path / "out", "llava")
    assert "| `base, k = 0` | `DocVQA` | `anls` | 50.0 [45.0, 55.0] | 100 |" in (tmp_path / "out/README.md").read_text()


# ---- the card of an adapter -----------------------------------------------------------------------


def test_params_are_those_that_the_folder_was_made_with(
    annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `ouro annotate` those that it noted, of the pipeline's data those of dvc.lock."""
    shutil.copytree(annotated, tmp_path / "photos")
    state = layout_of(tmp_path / "photos").state.annotate
    state.parent.mkdir()
    state.write_text(json.dumps({"agreed": {"model.base": "/models/qwen", "seed": 7}}))
    about = dataset_card.dataset_provenance(layout_of(tmp_path / "photos"))
    assert (about.annotator, about.params["seed"], about.notes) == ("qwen", 7, [])
    monkeypatch.chdir(tmp_path)
    shutil.copytree(annotated, tmp_path / "data")
    stages = {"describe": {"params": {"params.yaml": {"seed": 3, "model": {"backend": "openai", "name": "m"}}}}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    about = dataset_card.dataset_provenance(layout_of(Path("data")))
    assert (about.annotator, about.params) == ("m", {"seed": 3, "model.backend": "openai", "model.name": "m"})


@pytest.mark.slow
def test_a_training_leaves_its_card(annotated: Path, tmp_path: Path) -> None:
    settings = {"epochs": 8, "processes": 1, "k": 1, "questions": 1, "batch_size": 3, "learning_rate": 0.01}
    data = tmp_path / "data"
    shutil.copytree(annotated, data)
    train.train.fn(layout_of(data), Params.model_validate({"train": settings}), data / "adapter", track=False)
    card = (data / "adapter/README.md").read_text()
    assert ModelCard(card).data["library_name"] == "peft" and str(tmp_path) not in card
    assert "| `samples` | 3 |" in card and "| `no_description` | 1 |" in card and "train.epochs: 8" in card


def test_two_trainings_of_the_same_have_the_same_card(annotated: Path, tmp_path: Path) -> None:
    """Wherever they lie: what it says of data, params and base comes from these."""
    params, summary = Params(), TrainSummary(10, 3, 1000, 2000, 500, ())
    cards: list[str] = []
    for name in ("one", "two"):
        data = tmp_path / name
        shutil.copytree(annotated, data)
        (data / "adapter").mkdir()
        (data / "adapter/samples.json").write_text('{"n_in": 4, "n_out": 3, "rejected": {"no_description": 1}}')
        cards.append(train._make_card(layout_of(data), params, train.address(params), summary, data / "adapter"))
    assert cards[0] == cards[1] and str(tmp_path) not in cards[0]
    assert "coloured shapes" in cards[0] and "train.epochs: 24" in cards[0] and "scenes: sha256 " in cards[0]
    assert "descriptions: sha256" not in cards[0]  # no training reads them


def test_an_adapters_card_is_a_models() -> None:
    summary = TrainSummary(10, 3, 1000, 2000, 500, ({"loss_desc": 0.5, "loss_qa": 0.25},))
    account = {"n_in": 5, "n_out": 3, "rejected": {"too_long": 2}, "corrections": {"box": 1}}
    about = AdapterFacts("nano", "f1", "0.1.0", "c0de", {"train.k": 5}, account, {"qa": "d1"}, ["It is nano."])
    card = make_adapter_card(summary, about)
    data = ModelCard(card).data.to_dict()
    assert data["library_name"] == "peft" and data["pipeline_tag"] == "image-text-to-text" and "license" not in data
    cells = ("| `too_long` | 2 |", "| `box` | 1 |", "| `loss_qa` | 0.250 |")
    assert all(part in card for part in (*cells, "qa: sha256 d1", "train.k: 5", NOT_SCORED))
    assert yaml.safe_load(card.split("---\n")[1]) == data
