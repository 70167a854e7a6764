"""What used to end in a traceback and "a defect of Ouro" is a sentence: names, places, texts that cannot be read."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cli.app import guarded
from ouro.core.artifacts import ArtifactError
from ouro.core.files import write_bytes
from ouro.core.json_text import parse_json
from ouro.core.params import Params, ParamsError, load_params
from ouro.core.proxy import spare_loopback
from ouro.ingest.collection import list_files
from ouro.nano.model import is_nano
from ouro.vision.architecture import ArchitectureError, read_model_config
from tasks.errors import explain, mount_of
from tasks.settings import CommandOptions, apply_options, check_out, parse_override

ROOT = Path(__file__).resolve().parent.parent
DEEP = "[" * 200_000
LATIN = os.fsdecode(b"photos-\xe9")


def _said(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = explain(error)
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert "defect of Ouro" not in text
    return code, " ".join(text.split())


def _raised(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


# ---- texts -----------------------------------------------------------------------------------------


def test_json_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(DEEP)
    assert parse_json('{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000])
def test_json_of_others_is_refused_where_it_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert not is_nano(tmp_path)
    with pytest.raises(ArchitectureError, match="not valid JSON"):
        read_model_config(str(tmp_path))


def test_json_that_no_reader_caught_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert _said(_raised(lambda: json.loads(DEEP)), capsys)[0] == 2
    assert "nested too deeply" in _said(_raised(lambda: yaml.safe_load("[" * 5_000)), capsys)[1]


def _recurse(n: int = 0) -> int:
    return _recurse(n + 1)


def test_endless_recursion_of_our_own_stays_a_defect(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(_raised(_recurse)) == 1
    assert "defect of Ouro" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("train: é".encode("latin-1"), "not UTF-8 text"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (("a: " + "[" * 5_000).encode(), "nested too deeply"),
        (("{a: " * 5_000).encode(), "nested too deeply"),
        (b"a: " + b"x" * 2**20, "expected at most 1,048,576"),
        (b"a: \x07", "not valid YAML"),
        (b"a: 2026-99-99", "not valid YAML"),
    ],
)
def test_a_params_file_that_cannot_be_read_is_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    with pytest.raises(ParamsError, match=said):
        load_params(file)


@pytest.mark.parametrize("value", ["[" * 5_000, "2026-99-99"])
def test_a_value_that_cannot_be_read_is_a_sentence(value: str) -> None:
    with pytest.raises(ParamsError, match=r"--set"):
        parse_override(f"train.k={value}")


# ---- names and places ------------------------------------------------------------------------------


def test_names_that_are_not_utf8_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"SOURCE photos-\\xe9: got a name that is not UTF-8"):
        apply_options(Params(), CommandOptions(LATIN))
    with pytest.raises(ParamsError, match=r"--out .*photos-\\xe9: got a name that is not UTF-8"):
        check_out(Params(), tmp_path / LATIN)


def test_a_name_that_is_not_utf8_is_a_sentence_everywhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _said(_raised(lambda: LATIN.encode()), capsys)
    assert (code, said) == (
        2,
        r"error: photos-\udce9: holds a name that is not UTF-8; expected one that is. Fix: rename it",
    )


@pytest.mark.parametrize("below", ["a file", "/proc", "a long name", "a loop", "an empty name"])
def test_a_place_where_nothing_can_be_written_is_a_sentence(
    tmp_path: Path, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = {
        "a file": tmp_path / "file" / "out",
        "/proc": Path("/proc/ouro/out"),
        "a long name": tmp_path / ("n" * 300),
        "a loop": tmp_path / "loop" / "out",
        "an empty name": tmp_path,
    }[below]
    code, said = _said(_raised(lambda: write_bytes(place / "x" if below != "an empty name" else place, b"x")), capsys)
    assert code == 2
    assert "Fix: " in said


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_without_the_right_to_write_is_a_sentence(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _said(OSError(number, os.strerror(number), "/data/out"), capsys)
    assert (code, said.startswith("error: /data/out: ")) == (2, True)


def test_a_full_disk_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full answers every write with ENOSPC, without a file's name."""

    def write_to_full(path: Path) -> None:
        with Path("/dev/full").open("wb") as stream:
            stream.write(b"x" * 100_000)

    error = _raised(lambda: write_to_full(tmp_path))
    assert isinstance(error, OSError) and error.filename is None
    disk = mount_of(Path.cwd())
    code, said = _said(error, capsys)
    assert code == 1
    assert str(disk) in said and "no space left on the disk" in said
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    code, said = _said(_raised(lambda: write_bytes(tmp_path / "a.json", b"x")), capsys)
    assert f"(at {tmp_path / 'a.json'})" in said
    assert list(tmp_path.iterdir()) == []
    assert _said(sqlite3.OperationalError("database or disk is full"), capsys)[0] == 1


def test_a_damaged_database_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "replies.db").write_bytes(b"no database at all" * 100)
    error = _raised(lambda: sqlite3.connect(tmp_path / "replies.db").execute("SELECT * FROM reply"))
    assert "is damaged" in _said(error, capsys)[1]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Makes folders in folders of one name, with a file in the last; removed by rm, which knows no longest path."""
    start = Path.cwd()

    def nest(name: str, depth: int) -> Path:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir(name)
            os.chdir(name)
        Path("a.png").touch()
        os.chdir(start)
        return tmp_path

    yield nest
    os.chdir(start)
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def test_1200_nested_folders_are_walked(deep: Callable[[str, int], Path]) -> None:
    folder = deep("d", 1_200)
    [file] = list_files(folder)
    assert file.name == "a.png"
    assert len(file.relative_to(folder).parts) == 1_201


def test_folders_beyond_the_longest_path_are_listed_not_lost(deep: Callable[[str, int], Path]) -> None:
    [unread] = list_files(deep("d" * 200, 30))
    assert unread.name == "d" * 200


# ---- proxies ---------------------------------------------------------------------------------------


def test_loopback_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "intra.example")
    monkeypatch.delenv("no_proxy", raising=False)
    spare_loopback()
    spare_loopback()
    assert os.environ["NO_PROXY"] == "intra.example,127.0.0.1,localhost,::1"
    assert all(urllib.request.proxy_bypass(host) for host in ("127.0.0.1", "localhost"))
    assert not urllib.request.proxy_bypass("example.org")


def test_the_command_spares_loopback() -> None:
    code = "import os, cli.app as a\na.app = lambda: print(os.environ['NO_PROXY'])\na.main()"
    environment = {**os.environ, "http_proxy": "http://proxy.invalid:3128", "NO_PROXY": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "127.0.0.1" in done.stdout


def test_an_error_of_ours_still_speaks_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ArtifactError("x: got a, expected b")

    assert guarded(fail) == 2
    assert capsys.readouterr().err == "error: x: got a, expected b\n"
