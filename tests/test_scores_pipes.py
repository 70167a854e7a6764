"""Values that hold "|", the sign between several: through the loaders, to the score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.score import Options, run


def scored(name: str, annotations: Path, reply: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Any:
    file = annotations.with_suffix(".predictions")
    file.write_text("".join(json.dumps({"question_id": i, "prediction": r}) + "\n" for i, r in reply.items()))
    run(Options(name, [annotations], file, "", True, True, None, True))
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_table_whose_cell_holds_the_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str], tagged: bool) -> None:
    head = "id\tutterance\tcontext\ttargetValue" + ("\ttargetCanon" if tagged else "")
    row = "nu-0\twhich?\tcsv/1-csv/1.csv\tA\\pB|C" + ("\tA\\pB|C" if tagged else "")
    (tmp_path / "w.tsv").write_text(f"{head}\n{row}\n")
    scores = scored("wtq", tmp_path / "w.tsv", {"nu-0": "C | A|B"}, capsys)
    assert scores["figures"]["denotation accuracy"]["micro"]["value"] == 1.0


def test_a_field_of_a_document_that_holds_the_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DeepForm: one pair of one, F1 1; another spelling of it is right, and case does not matter."""
    values = [{"value": "WXYZ|TV", "value_variants": ["WXYZ | TV"]}]
    record = {"name": "d", "language": "en", "split": "test",
              "annotations": [{"id": "1", "key": "advertiser", "values": values}]}  # fmt: skip
    (tmp_path / "document.jsonl").write_text(json.dumps(record) + "\n")
    for reply, f1 in (("wxyz|tv", 1.0), ("WXYZ | TV", 1.0), ("WXYZ", 0.0), ("TV|WXYZ", 0.0)):
        scores = scored("deepform", tmp_path / "document.jsonl", {"d/advertiser": reply}, capsys)
        assert scores["figures"]["F1"]["micro"]["value"] == f1
        assert scores["controls"]["constant"] == 1.0
