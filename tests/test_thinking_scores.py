"""Thinking changes no score, under any benchmark's protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predictions import NAMED_CASES

from cli.score import Options, run
from ouro.benchmarks.items import Item
from ouro.benchmarks.judging import metric_of
from ouro.benchmarks.loaders.registry import BENCHMARKS
from ouro.benchmarks.scored import judge

ALOUD = "<think>No, it may not be 7. (A) is wrong: [1, 2, 3, 4] | none</think>\n\n{}"


def judged(case: Any, protocol: str, replies: dict[str, str]) -> Any:
    bench = BENCHMARKS[case.name]
    metric = metric_of(bench, protocol)
    return judge(bench.load(case.paths), metric, lambda item: replies.get(item.item_id), allow_missing=True)


def parts(samples: Any) -> list[list[float]]:
    return [list(column) for column in samples.parts]


@pytest.mark.parametrize("name", ["pope", "scienceqa", "docvqa", "vqav2", "gqa", "vsr", "klc", "wtq", "ai2d", "iconqa",
                                  "chartqa", "stvqa", "flickr30k", "coco-caption"])  # fmt: skip
def test_thinking_changes_no_score(name: str) -> None:
    """The same figures for replies with thinking and without, under every protocol."""
    case = next(one for one in NAMED_CASES.values() if one.name == name)
    items = [one for one in BENCHMARKS[name].load(case.paths) if isinstance(one, Item)]
    plain = {item.item_id: (item.references or ("None",))[0] for item in items}
    aloud = {key: ALOUD.format(reply) for key, reply in plain.items()}
    for protocol in BENCHMARKS[name].protocols:
        if protocol == "ptb":
            continue  # needs Java
        (first, _), (second, account) = judged(case, protocol, plain), judged(case, protocol, aloud)
        assert parts(first) == parts(second) and list(first.readable) == list(second.readable)
        assert (account.thought, account.cut) == (len(items), 0)


def test_a_reply_that_was_cut_is_wrong_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """POPE's evaluator takes an empty reply for yes; one that was cut is neither."""
    case = next(one for one in NAMED_CASES.values() if one.name == "pope")
    items = [one for one in BENCHMARKS["pope"].load(case.paths) if isinstance(one, Item)]
    cut = next(item for item in items if item.references == ("yes",))
    lines = [{"question_id": i.item_id, "prediction": i.references[0]} for i in items if i is not cut]
    lines.append({"question_id": cut.item_id, "prediction": "<think>There is one, so yes"})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(Options("pope", case.paths, tmp_path / "p.jsonl", "", False, False, None, False))
    said = capsys.readouterr()
    assert "replies with thinking: 1, cut before an answer (wrong): 1; ask with a larger --max-new-tokens" in (
        said.out + said.err
    )
    samples, account = judged(case, "", {line["question_id"]: line["prediction"] for line in lines})
    at = samples.ids.index(cut.item_id)
    assert (samples.figure("accuracy")[0][at], samples.readable[at], account.cut) == (0.0, 0, 1)
    assert account.missing == 0
