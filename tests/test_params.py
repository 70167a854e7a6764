"""params.yaml and its typed mirror: what is wrong is said at once, with the key and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from ouro.core.hardware import multiplies_bfloat16
from ouro.core.params import Params, ParamsError, load_params

ROOT = Path(__file__).parent.parent


def _load(tmp_path: Path, text: str, *overrides: str) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return load_params(path, overrides)


def _problems(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ParamsError) as caught:
        _load(tmp_path, text, *overrides)
    return str(caught.value)


def test_shipped_params_are_valid_and_equal_the_defaults() -> None:
    assert load_params(ROOT / "params.yaml") == Params()


def test_shipped_params_name_every_knob() -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert raw.keys() == Params.model_fields.keys()
    for stage, knobs in Params().model_dump().items():
        if isinstance(knobs, dict):
            assert raw[stage].keys() == knobs.keys(), stage


def test_every_problem_is_reported_at_once_with_its_key(tmp_path: Path) -> None:
    text = "propose: {tau: 1.5, nms: 0.4}\ntrian: {}\ntrain: {k: -1, epochs: many}\nmodel: {dtype: int4}\n"
    message = _problems(tmp_path, text)
    assert "6 problems" in message
    assert "propose.tau: got 1.5; input should be less than or equal to 1" in message
    assert "propose.nms: unknown key; did you mean 'nms_iou'?" in message
    assert "trian: unknown key; did you mean 'train'?" in message
    assert "train.k: got -1" in message
    assert "train.epochs: got 'many'" in message
    assert "model.dtype: got 'int4'; input should be 'float32' or 'bfloat16'" in message


def test_an_unknown_key_far_from_all_lists_the_known_ones(tmp_path: Path) -> None:
    assert "unknown key; known keys: writer, matcher" in _problems(tmp_path, "merge: {zzz: 1}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "got a list, expected keys such as 'train:'"),
        ("train: [\n", "not valid YAML"),
        ("train: 3\n", "train: got 3"),
        ("propose: {proposers: [rpn, yolo]}\n", "propose.proposers.1: got 'yolo'"),
        ("synthesize: {aspects: []}\n", "synthesize.aspects: got []"),
        ("train: {learning_rate: .nan}\n", "train.learning_rate: got nan"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, text: str, message: str) -> None:
    assert message in _problems(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"none\.yaml: not found"):
        load_params(tmp_path / "none.yaml")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "") == Params()


def test_overrides_change_single_keys_and_are_checked_too(tmp_path: Path) -> None:
    params = _load(tmp_path, "train: {k: 2}\n", "train.k=7", "seed=3", "propose.proposers=[rpn]")
    assert (params.train.k, params.seed, params.propose.proposers) == (7, 3, ("rpn",))
    assert "train.kk: unknown key" in _problems(tmp_path, "", "train.kk=7")
    assert "expected KEY=VALUE" in _problems(tmp_path, "", "train.k")


@pytest.mark.parametrize("override", ["seed.k=1", "train.k.deep=1"])
def test_an_override_below_a_plain_value_is_a_params_error(tmp_path: Path, override: str) -> None:
    assert override.split("=")[0] in _problems(tmp_path, "seed: 0\ntrain: {k: 1}\n", override)


def test_an_override_of_a_stage_left_empty_in_the_file(tmp_path: Path) -> None:
    assert _load(tmp_path, "train:\n", "train.k=7").train.k == 7


@pytest.mark.parametrize("override", ["train.k=[", "train.k={a"])
def test_an_override_that_is_no_yaml_is_a_params_error(tmp_path: Path, override: str) -> None:
    assert override in _problems(tmp_path, "", override)


def test_params_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Params().train.k = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("cpuinfo", "fast"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx avx2 f16c\nbugs\t\t: amx_bf16\n", False),
        (None, False),
    ],
)
def test_bfloat16_is_taken_only_where_something_multiplies_it(
    cpuinfo: str | None, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imitated, a product of matrices takes 60 times as long as in float32."""
    monkeypatch.setattr("ouro.core.hardware.GPUS", ())
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    assert multiplies_bfloat16.__wrapped__(file) is fast
    monkeypatch.setattr("ouro.core.params.multiplies_bfloat16", lambda: fast)
    params = load_params(ROOT / "params.yaml")
    dtype = "bfloat16" if fast else "float32"
    assert (params.model.dtype, params.benchmark.dtype, params.train.bf16) == (dtype, dtype, fast)
    assert load_params(ROOT / "params.yaml", ("model.dtype=bfloat16",)).model.dtype == "bfloat16"
