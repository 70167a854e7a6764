"""Rounds: the gate, the ledger, promotion, and what git and DVC keep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.intervals import Estimate
from ouro.core.params import Gate
from ouro.rounds.gate import GateError, Measured, check_gate, decide, gained
from ouro.rounds.ledger import LedgerError, Round, count_rounds_without_gain, read_round, read_rounds, write_round


def measured(
    name: str = "held-out", gain: float = 0.1, half: float = 0.02, k: int = 0, first: str = "base"
) -> Measured:
    return Measured(name, k, (first, "bootstrapped"), 0.3, 0.3 + gain, Estimate(gain, gain - half, gain + half, 100))


def finished(number: int, *, promoted: bool = True, gained: bool = True, **values: Any) -> Round:
    from ouro.rounds.gate import Verdict

    fields: dict[str, Any] = {
        "number": number, "annotator": "models/nano", "against": "base", "trained_from": "base", "candidate": "c" * 64,
        "counts": {"images": 4, "regions": 9, "pairs": 20}, "words": 17.5, "measured": (measured(), measured(k=5)),
        "verdict": Verdict(promoted, ("held-out: it was so",)), "gained": gained,
    }  # fmt: skip
    return Round(**fields | values)


# ---- the gate --------------------------------------------------------------------------------------------


def test_a_gain_beyond_its_interval_is_promoted() -> None:
    verdict = decide([measured()], "base", Gate())
    assert verdict.promoted
    assert verdict.reasons == ("held-out: 30.0 -> 40.0, gain +10.0 [+8.0, +12.0], n = 100, above the margin +0.0",)


@pytest.mark.parametrize(
    ("gain", "half", "margin"), [(0.01, 0.02, 0.0), (-0.1, 0.02, 0.0), (0.1, 0.02, 0.09), (0.0, 0.0, 0.0)]
)
def test_a_gain_within_its_interval_or_the_margin_is_refused(gain: float, half: float, margin: float) -> None:
    verdict = decide([measured(gain=gain, half=half)], "base", Gate(margin=margin))
    assert not verdict.promoted
    assert "NOT above the margin" in verdict.reasons[0]


def test_a_fall_beyond_its_tolerance_refuses_whatever_else_was_gained() -> None:
    """The paper's ScienceQA: 95.4 -> 87.0 (Table 1)."""
    fell = measured("scienceqa", gain=-0.084)
    verdict = decide([measured(), fell], "base", Gate())
    assert not verdict.promoted
    assert "scienceqa: 30.0 -> 21.6" in verdict.reasons[1] and "NOT within the tolerance -2.0" in verdict.reasons[1]
    assert decide([measured(), fell], "base", Gate(tolerances={"scienceqa": 0.09})).promoted
    assert decide([measured(), fell], "base", Gate(tolerance=0.09)).promoted


def test_regions_beside_the_image_are_guarded_and_not_what_must_gain() -> None:
    assert decide([measured(), measured(gain=-0.01, k=5)], "base", Gate()).promoted
    assert not decide([measured(), measured(gain=-0.03, k=5)], "base", Gate()).promoted


def test_every_benchmark_of_the_gate_must_gain() -> None:
    both = Gate(benchmarks=["held-out", "docvqa"])
    assert decide([measured(), measured("docvqa")], "base", both).promoted
    assert not decide([measured(), measured("docvqa", gain=0.01)], "base", both).promoted


def test_the_candidate_is_judged_against_the_champion_alone() -> None:
    rows = [measured(gain=0.3), measured(gain=-0.1, first="champion")]
    assert not decide(rows, "champion", Gate()).promoted
    assert decide(rows, "base", Gate()).promoted


def test_a_benchmark_of_the_gate_that_was_not_measured_is_named() -> None:
    with pytest.raises(GateError, match=r"gate\.benchmarks: got docvqa, which was not measured \(measured: held-out\)"):
        decide([measured()], "base", Gate(benchmarks=["docvqa"]))
    with pytest.raises(GateError, match=r"gate\.tolerances: got gqa, expected some of held-out, docvqa\. Fix"):
        check_gate(Gate(tolerances={"gqa": 0.1}), ["docvqa"])
    with pytest.raises(GateError, match=r"gate\.benchmarks: got held-out, expected some of docvqa"):
        check_gate(Gate(), ["docvqa"], held_out=False)
    check_gate(Gate(benchmarks=["docvqa"]), ["docvqa"], held_out=False)
    check_gate(Gate(), [], held_out=False)  # nothing is measured: the verdict says so


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_stricter_gate_promotes_nothing_that_a_milder_one_refuses(
    gain: float, half: float, a: float, b: float
) -> None:
    rows = [measured(gain=gain, half=half), measured("gqa", gain=-gain)]
    strict, mild = Gate(margin=max(a, b), tolerance=min(a, b)), Gate(margin=min(a, b), tolerance=max(a, b))
    assert decide(rows, "base", mild).promoted or not decide(rows, "base", strict).promoted


def test_gained_says_whether_the_interval_is_above_nothing_whatever_the_margin() -> None:
    assert gained([measured()], "base", Gate(margin=0.5))
    assert not gained([measured(gain=0.01), measured(k=5)], "base", Gate())


# ---- the ledger ------------------------------------------------------------------------------------------


def test_a_round_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = finished(2, data={"data/qa": "abc.dir"}, seconds={"train": 3.5}, run="r")
    path = write_round(record, tmp_path / "rounds")
    assert path.name == "round-002.json"
    assert read_round(2, tmp_path / "rounds") == record
    write_round(finished(10), tmp_path / "rounds")
    write_round(finished(1), tmp_path / "rounds")
    assert [m.number for m in read_rounds(tmp_path / "rounds")] == [1, 2, 10]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"measured": [], "verdict": {"promoted": true, "reasons": []}}', "null"]
)
def test_a_damaged_round_is_said_with_its_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "round-001.json").write_text(content)
    with pytest.raises(LedgerError, match=r"round-001\.json: .*Fix: git checkout"):
        read_round(1, tmp_path)


def test_a_round_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    write_round(finished(1), tmp_path)
    with pytest.raises(LedgerError, match=r"round 7: no file .*finished rounds here: 1"):
        read_round(7, tmp_path)


def test_barren_counts_the_last_rounds_without_a_gain() -> None:
    rounds = [finished(1), finished(2, promoted=False, gained=False), finished(3, promoted=False)]
    assert [count_rounds_without_gain(rounds[:n]) for n in range(4)] == [0, 0, 1, 2]
    assert count_rounds_without_gain([*rounds, finished(4)]) == 0
    assert count_rounds_without_gain([finished(1, gained=False)]) == 1, "a negative margin promotes without a gain"


# ---- git and DVC -----------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with DVC and one stage, in which the tests run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for variable, value in {"NAME": "a", "EMAIL": "a@example.org"}.items():
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_{variable}", value)
    (tmp_path / ".gitignore").write_text(".ouro/\n")
    (tmp_path / "params.yaml").write_text("round: 1\nmodel: {adapter: ''}\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages: {copy: {cmd: cp params.yaml out.txt, deps: [params.yaml], outs: [out.txt]}}\n"
    )
    (tmp_path / "models/champions").mkdir(parents=True)
    (tmp_path / "models/champions/.gitignore").write_text("# here\n")
    adapter = tmp_path / "models/adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (tmp_path / "models/.gitignore").write_text("/adapter\n")
    call("git", "init", "-q", "-b", "main")
    dvc("init", "-q")
    dvc("repro", "-q")
    call("git", "add", "-A")
    call("git", "commit", "-q", "-m", "begin")
    return tmp_path


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def dvc(*arguments: str) -> str:
    return call(sys.executable, "-m", "dvc", *arguments)


def test_a_champion_is_a_copy_that_dvc_keeps_and_promoting_twice_is_promoting_once(checkout: Path) -> None:
    from tasks.promotion import candidate_digest, promote

    passed = finished(1, candidate=candidate_digest())
    champion = promote(passed)
    assert champion == Path("models/champions/round-001")
    assert (champion / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (checkout / "models/champions/round-001.dvc").is_file()
    (checkout / "models/adapter/adapter_model.safetensors").write_bytes(b"of the next round")
    assert promote(passed) == champion, "also when the candidate has gone on"
    assert (champion / "adapter_model.safetensors").read_bytes() == b"weights"


def test_a_round_that_was_run_again_promotes_its_new_adapter(checkout: Path) -> None:
    from tasks.promotion import PromotionError, candidate_digest, promote

    promote(finished(1, candidate=candidate_digest()))
    (checkout / "models/adapter/adapter_model.safetensors").write_bytes(b"of the second run")
    champion = promote(finished(1, candidate=candidate_digest()))
    assert (champion / "adapter_model.safetensors").read_bytes() == b"of the second run"
    assert json.loads(dvc("status", "--json", "models/champions/round-001.dvc")) == {}
    with pytest.raises(PromotionError):
        promote(finished(1))
    assert (champion / "adapter_model.safetensors").read_bytes() == b"of the second run"


@pytest.mark.parametrize("left", ["round-001.part", "round-001"])
def test_a_promotion_that_was_killed_is_done_again(checkout: Path, left: str) -> None:
    from tasks.promotion import candidate_digest, promote

    torn = checkout / "models/champions" / left
    torn.mkdir()
    (torn / "adapter_model.safetensors").write_bytes(b"wei")
    champion = promote(finished(1, candidate=candidate_digest()))
    assert (champion / "adapter_model.safetensors").read_bytes() == b"weights"
    assert not (checkout / "models/champions/round-001.part").exists()


def test_an_adapter_that_is_not_the_one_of_the_verdict_is_never_promoted(checkout: Path) -> None:
    from tasks.promotion import PromotionError, promote

    with pytest.raises(
        PromotionError, match=r"models/adapter: got adapter .*nothing was promoted\. Fix: bring it back"
    ):
        promote(finished(1))
    assert sorted(p.name for p in (checkout / "models/champions").iterdir()) == [".gitignore"]


def test_a_round_commits_its_own_paths_and_nothing_else(checkout: Path) -> None:
    from tasks import versioning

    write_round(finished(1), checkout / "rounds")
    (checkout / "params.yaml").write_text("round: 2\n")
    (checkout / "notes.txt").write_text("mine")
    (checkout / "staged.txt").write_text("mine, too")
    versioning.check_commit("round-001")
    call("git", "add", "staged.txt")
    commit = versioning.commit_round("round-001", "round-001: promoted")
    assert call("git", "show", "--name-only", "--format=", commit).split() == ["params.yaml", "rounds/round-001.json"]
    assert call("git", "status", "--porcelain").splitlines() == ["A  staged.txt", "?? notes.txt"]
    assert versioning.commit_round("round-001", "again") == commit == versioning.commit_of("round-001")
    assert call("git", "rev-list", "--count", "HEAD").strip() == "2"


def test_a_dirty_tree_a_tag_that_is_there_and_a_missing_name_are_said_before_anything_starts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import versioning

    (checkout / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(
        versioning.VersioningError, match=r"git: dvc\.yaml changed and not committed; .*without --commit"
    ):
        versioning.check_commit("round-001")
    call("git", "checkout", "-q", "dvc.yaml")
    call("git", "tag", "round-001")
    with pytest.raises(versioning.VersioningError, match="the tag round-001 exists already"):
        versioning.check_commit("round-001")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(checkout))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    call("git", "config", "user.useConfigOnly", "true")
    with pytest.raises(versioning.VersioningError, match=r"git: got no name and address .*Fix: git config user\.name"):
        versioning.check_commit("round-002")


def test_dvc_says_whether_something_has_changed(checkout: Path) -> None:
    from tasks import versioning

    assert versioning.is_up_to_date()
    (checkout / "params.yaml").write_text("round: 7\n")
    assert not versioning.is_up_to_date()
    (checkout / "dvc.yaml").write_text("stages: [\n")
    with pytest.raises(versioning.VersioningError, match=r"dvc status: .*Fix what it names"):
        versioning.is_up_to_date()


def test_a_remote_that_refuses_is_one_sentence_and_loses_nothing(checkout: Path, tmp_path_factory: Any) -> None:
    from tasks import versioning

    assert not versioning.has_remote()
    file = tmp_path_factory.mktemp("remote") / "a file"
    file.write_text("no folder")
    dvc("remote", "add", "-d", "store", str(file / "below"))
    assert versioning.has_remote()
    with pytest.raises(versioning.VersioningError, match=r"dvc push: .*The round is finished, committed and kept here"):
        versioning.push_data()
    assert (checkout / "out.txt").is_file()
    dvc("remote", "modify", "store", "url", str(file.parent / "good"))
    versioning.push_data()
    assert any((file.parent / "good").rglob("*"))


# ---- when there is nothing to do -------------------------------------------------------------------------


def rounds_of(checkout: Path, *rounds: Round) -> None:
    for one in rounds:
        write_round(one, checkout / "rounds")


def test_nothing_is_to_be_done_when_saturated_and_nothing_has_changed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ouro.core.params import Params
    from tasks.inbox import inbox_fingerprint, note_inbox
    from tasks.saturation import nothing_to_do

    params = Params(round=3)
    assert nothing_to_do(params) is None, "the round has not ended"
    rounds_of(checkout, finished(1), finished(2, promoted=False, gained=False))
    assert nothing_to_do(Params(round=2)) is None, "another draw may gain"
    rounds_of(checkout, finished(3, promoted=False, gained=False))
    assert "saturated after round 3: 2 rounds in a row without a gain" in str(nothing_to_do(params))
    folder = checkout / "inbox"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a picture")
    watched = params.model_copy(update={"ingest": params.ingest.model_copy(update={"source": str(folder)})})
    assert nothing_to_do(watched) is None, "it was never read in"
    note_inbox(inbox_fingerprint(watched))
    assert nothing_to_do(watched)
    (folder / "b.png").write_bytes(b"another")
    assert nothing_to_do(watched) is None, "there is a new image"
    note_inbox(inbox_fingerprint(watched))
    dataset = params.model_copy(update={"ingest": params.ingest.model_copy(update={"source": "hf:name@train"})})
    assert nothing_to_do(dataset), "whether it has changed cannot be told without reading all of it"
    (checkout / "params.yaml").write_text("round: 9\n")
    assert nothing_to_do(watched) is None, "something that DVC watches has changed"


def test_a_round_begins_with_the_promotion_and_writes_params_once(checkout: Path) -> None:
    from ouro.core.params import load_params
    from tasks.promotion import begin_round, candidate_digest

    assert begin_round() == load_params() and load_params().round == 1, "the first round has not ended"
    rounds_of(checkout, finished(1, candidate=candidate_digest()))
    begun = begin_round()
    assert (begun.round, begun.model.adapter) == (2, "models/champions/round-001")
    assert begin_round() == begun, "it goes on"
    rounds_of(checkout, finished(2, promoted=False))
    assert (begin_round().round, load_params().model.adapter) == (3, "models/champions/round-001")
    assert load_params().training_seed != load_params(overrides=("round=2",)).training_seed
    assert load_params(overrides=("round=1",)).training_seed == 0


def test_an_adapter_of_another_base_or_against_a_persons_choice_is_not_promoted(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ouro.core.params import load_params
    from tasks.promotion import begin_round, candidate_digest

    rounds_of(checkout, finished(1, candidate=candidate_digest()))
    (checkout / "params.yaml").write_text("round: 1\nmodel: {adapter: '', base: models/another}\n")
    begun = begin_round()
    assert (begun.round, begun.model.adapter) == (2, "")
    assert "not promoted: it is of models/nano, model.base is another now" in capsys.readouterr().out
    (checkout / "params.yaml").write_text("round: 1\nmodel: {adapter: models/mine, base: models/nano}\n")
    begun = begin_round(promoting=False)
    assert (begun.round, begun.model.adapter) == (2, "models/mine")
    assert "model.adapter was set to another annotator" in capsys.readouterr().out
    (checkout / "params.yaml").write_text("round: 1\nmodel: {adapter: '', base: models/nano}\n")
    assert begin_round().model.adapter == "models/champions/round-001"
    assert load_params().round == 2


def test_the_tag_of_every_round_is_checked_before_it_begins(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import bootstrap as command
    from ouro.core.params import Params
    from tasks.versioning import VersioningError

    ran: list[int] = []

    def round_(params: Params, committing: bool) -> Round:
        ran.append(params.round)
        rounds_of(checkout, last_round := finished(params.round, promoted=False))
        return last_round

    monkeypatch.setattr(command, "run_round", round_)
    call("git", "tag", "round-002")
    with pytest.raises(VersioningError, match="the tag round-002 exists already"):
        command.run_rounds(2, True, True)
    assert ran == [1]


def test_a_profile_changes_nothing_of_the_rounds(checkout: Path) -> None:
    from ouro.core.params import load_params
    from tasks.settings import write_params

    (checkout / "params.yaml").write_text("round: 4\nmodel: {adapter: models/champions/round-002, base: models/nano}\n")
    (checkout / "profiles").mkdir()
    (checkout / "profiles/p.yaml").write_text("train: {k: 3}\n")
    write_params(None, "p", ())
    now = load_params()
    assert (now.round, now.model.adapter, now.train.k) == (4, "models/champions/round-002", 3)
    (checkout / "profiles/p.yaml").write_text("model: {base: another}\n")
    write_params(None, "p", ())
    assert (load_params().round, load_params().model.adapter) == (4, ""), "an adapter belongs to its base"


def test_what_the_gate_reads_is_said_when_it_is_damaged(tmp_path: Path) -> None:
    from ouro.core.artifacts import ArtifactError
    from ouro.core.layout import Layout
    from tasks.verdict import read_measured

    layout = Layout(tmp_path, tmp_path)
    with pytest.raises(ArtifactError, match=r"gate\.json: .*Fix: run the round again"):
        read_measured(layout)
    layout.scores.mkdir()
    for content in ("", "{}", '{"measured": [{}]}'):
        (layout.scores / "gate.json").write_text(content)
        with pytest.raises((ArtifactError, GateError)):
            read_measured(layout)
    (layout.scores / "gate.json").write_text(json.dumps({"measured": [measured().to_json()]}))
    assert read_measured(layout) == [measured()]


def test_a_full_disk_is_one_sentence_with_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    from tasks.errors import explain

    try:
        with Path("/dev/full").open("w") as disk:
            disk.write("a round's file")
    except OSError as error:
        assert explain(error) == 1
    output = " ".join(capfd.readouterr().err.split())
    assert "no space left on the disk; what was finished is kept. Fix: make some room" in output
    assert "Traceback" not in output
