"""NAME[:CONFIG][@SPLIT], read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ouro.core.hf_folders import DatasetName, DatasetNameError, parse_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lmms-lab/DocVQA", ("lmms-lab/DocVQA", "", "")),
        ("lmms-lab/DocVQA@validation", ("lmms-lab/DocVQA", "", "validation")),
        ("lmms-lab/DocVQA:InfographicVQA", ("lmms-lab/DocVQA", "InfographicVQA", "")),
        ("hf:lmms-lab/ScienceQA:ScienceQA-IMG@test", ("lmms-lab/ScienceQA", "ScienceQA-IMG", "test")),
        ("x/y@train[:100]", ("x/y", "", "train[:100]")),
    ],
)
def test_a_name_has_a_config_and_a_split(text: str, expected: tuple[str, str, str]) -> None:
    assert parse_name(text) == expected


@pytest.mark.parametrize("text", ["", "x/y@", "x/y:", ":c", "@s", "x/y@validation:DocVQA"])
def test_a_name_with_an_empty_or_misplaced_part_is_refused(text: str) -> None:
    with pytest.raises(DatasetNameError, match=r"expected NAME\[:CONFIG\]\[@SPLIT\]"):
        parse_name(text)


def test_signs_in_the_path_of_a_folder_are_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "me@home:2"
    folder.mkdir()
    assert parse_name(str(folder)) == DatasetName(str(folder))
    assert parse_name(f"{folder}:c@val") == DatasetName(str(folder), "c", "val")
