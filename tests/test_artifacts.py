"""Shards, sidecars, fingerprints and the cache of shard results, on real files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ouro.core import code, files
from ouro.core.artifacts import (
    ArtifactError,
    Sidecar,
    fingerprint_files,
    list_shards,
    prune_shards,
    read_all,
    read_shard,
    read_sidecar,
    rejected_path,
    shard_files,
    sidecar_path,
    write_bytes,
    write_json,
    write_shard,
)
from ouro.core.cache import ShardCache
from ouro.core.code import code_fingerprint, imported_files
from ouro.core.records import Description, Image, Region, Rejected, schema, to_row

REGIONS = [
    Region("ab/0", "ab", None, 0, (0.0, 0.0, 64.0, 48.0), 1.0, "image"),
    Region("ab/0.0", "ab", "ab/0", 1, (3.5, 4.0, 20.0, 30.25), 0.75, "rpn+ocr", "Straße"),
]
DROPPED = [Rejected("propose", "ab/0#1", "nms", "IoU 0.7"), Rejected("propose", "ab/0#2", "low_score")]


def _write(folder: Path, number: int = 0, **meta: Any) -> Path:
    path = folder / f"shard-{number:05d}.parquet"
    write_shard(path, Region, REGIONS, n_in=4, rejected=DROPPED, meta=meta)
    return path


def _flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


# ---- shards ----------------------------------------------------------------------------------------


def test_shard_comes_back_with_its_rejected_records_and_counts(tmp_path: Path) -> None:
    path = _write(tmp_path, waves=2)
    assert read_shard(path, Region) == REGIONS
    assert read_shard(rejected_path(path), Rejected) == DROPPED
    expected = Sidecar("Region", n_in=4, n_out=2, rejected={"low_score": 1, "nms": 1}, meta={"waves": 2})
    assert read_sidecar(path) == read_sidecar(sidecar_path(path)) == expected


def test_same_records_give_the_same_bytes_and_leave_no_temporary_files(tmp_path: Path) -> None:
    one, two = _write(tmp_path / "a"), _write(tmp_path / "b")
    assert [p.read_bytes() for p in shard_files(one)] == [p.read_bytes() for p in shard_files(two)]
    assert sorted(os.listdir(one.parent)) == [
        "shard-00000.json",
        "shard-00000.parquet",
        "shard-00000.rejected.parquet",
    ]


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.parquet"
    write_shard(path, Image, [], n_in=0)
    assert read_shard(path, Image) == []
    assert not rejected_path(path).exists()


def test_counts_that_do_not_add_up_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"5 in, but 2 out \+ 2 rejected"):
        write_shard(tmp_path / "shard-00000.parquet", Region, REGIONS, n_in=5, rejected=DROPPED)
    assert list(tmp_path.iterdir()) == []


def test_rewriting_without_rejected_records_removes_the_old_ones(tmp_path: Path) -> None:
    path = _write(tmp_path)
    write_shard(path, Region, REGIONS, n_in=2)
    assert shard_files(path) == [path, sidecar_path(path)]


@pytest.mark.parametrize(
    ("record", "where"),
    [
        (Description("r", "i", None, "nano"), "row 1, column 'text': got None"),  # type: ignore[arg-type]
        (Description("r", 7, "t", "nano"), "row 1, column 'image_id': got 7"),  # type: ignore[arg-type]
        (Description("r", "i", "\ud800", "nano"), "row 1, column 'text'"),
    ],
)
def test_a_value_that_does_not_fit_is_named_when_written(tmp_path: Path, record: Description, where: str) -> None:
    good = Description("r", "i", "a red star", "nano")
    with pytest.raises(ArtifactError) as caught:
        write_shard(tmp_path / "shard-00000.parquet", Description, [good, record], n_in=2)
    assert where in str(caught.value)


def test_reading_another_kind_names_column_and_fix(tmp_path: Path) -> None:
    path = _write(tmp_path)
    with pytest.raises(ArtifactError, match=r"shard-00000.parquet: no column 'path'.*`ouro annotate`"):
        read_shard(path, Image)


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path)
    rows = [to_row(r) | {"score": str(r.score)} for r in REGIONS]
    wrong = schema(Region).set(5, pa.field("score", pa.string(), nullable=False))
    pq.write_table(pa.Table.from_pylist(rows, schema=wrong), path)
    with pytest.raises(ArtifactError, match=r"column 'score': string, (not|expected) double; run the `ouro annotate`"):
        read_shard(path, Region)


def test_a_null_is_named_by_its_row(tmp_path: Path) -> None:
    path = _write(tmp_path)
    rows = [to_row(REGIONS[0]), to_row(REGIONS[1]) | {"text": None}]
    loose = pa.schema([f.with_nullable(True) for f in schema(Region)])
    pq.write_table(pa.Table.from_pylist(rows, schema=loose), path)
    with pytest.raises(ArtifactError, match="row 1: column 'text' is null"):
        read_shard(path, Region)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_cut_shard_is_refused(tmp_path: Path, keep: int) -> None:
    path = _write(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"not a readable Parquet file.*run the `ouro annotate`"):
        read_shard(path, Region)


def test_a_damaged_page_is_caught_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.parquet"
    texts = [Description(f"r{n}", "i", f"{n * 7919} " * 9, "nano") for n in range(500)]
    write_shard(path, Description, texts, n_in=500)
    _flip(path, path.stat().st_size // 2)
    with pytest.raises(ArtifactError, match="run the `ouro annotate`"):
        read_shard(path, Description)


def test_a_shard_without_sidecar_is_unfinished(tmp_path: Path) -> None:
    path = _write(tmp_path)
    sidecar_path(path).unlink()
    with pytest.raises(ArtifactError, match="never finished"):
        read_shard(path, Region)


def test_a_sidecar_that_counts_otherwise_is_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path)
    write_json(sidecar_path(path), {"kind": "Region", "n_in": 9, "n_out": 9, "rejected": {}, "meta": {}})
    with pytest.raises(ArtifactError, match="got 2 rows, expected Region; its sidecar says 9 rows of Region"):
        read_shard(path, Region)


def test_shards_are_listed_by_number_without_rejected_and_foreign_files(tmp_path: Path) -> None:
    for number in (100_000, 2, 10):
        _write(tmp_path, number)
    (tmp_path / "notes.parquet").touch()
    numbers = [int(p.stem.removeprefix("shard-")) for p in list_shards(tmp_path)]
    assert numbers == [2, 10, 100_000]
    assert read_all(tmp_path, Region) == REGIONS * 3


def test_a_missing_folder_or_shard_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such folder"):
        list_shards(tmp_path / "regions")
    with pytest.raises(ArtifactError, match="not found; expected a shard of Region"):
        read_shard(tmp_path / "shard-00000.parquet", Region)


def test_prune_removes_other_shards_and_nothing_else(tmp_path: Path) -> None:
    file, _ = _write(tmp_path, 0), _write(tmp_path, 1)
    for folder in ("shard-00000", "shard-00001"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ab.png").touch()
    (tmp_path / "mine.json").touch()
    prune_shards(tmp_path, [file])
    assert sorted(os.listdir(tmp_path)) == [
        "mine.json",
        "shard-00000",
        "shard-00000.json",
        "shard-00000.parquet",
        "shard-00000.rejected.parquet",
    ]


# ---- atomic writes ---------------------------------------------------------------------------------


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["scores.json"]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_json_holds_only_plain_finite_values(tmp_path: Path, value: object) -> None:
    with pytest.raises(ArtifactError, match=r"scores\.json"):
        write_json(tmp_path / "scores.json", {"score": value})
    assert list(tmp_path.iterdir()) == []


KILLED_WRITER = """
import os, sys
from pathlib import Path
from ouro.core import code, files
from ouro.core.artifacts import write_shard
from ouro.core.records import Description
path, keep = Path(sys.argv[1]), int(sys.argv[2])
real, done = os.replace, []
def replace(a, b):
    if len(done) == keep:
        os.kill(os.getpid(), 9)
    real(a, b)
    done.append(b)
files.os.replace = replace
write_shard(path, Description, [Description("r", "i", "new", "nano")], n_in=1)
"""


@pytest.mark.parametrize("renames", [0, 1])
def test_a_writer_killed_half_way_never_leaves_a_shard_that_looks_finished(tmp_path: Path, renames: int) -> None:
    path = tmp_path / "shard-00000.parquet"
    write_shard(path, Description, [Description("r", "i", "old", "nano")], n_in=1)
    run = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path), str(renames)], check=False)
    assert run.returncode == -9
    with pytest.raises(ArtifactError, match="never finished"):
        read_shard(path, Description)


# ---- fingerprints ----------------------------------------------------------------------------------


def test_fingerprint_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
        (tmp_path / folder / "sub" / "weights").write_text("1")
    a, b = tmp_path / "a", tmp_path / "b"
    base = fingerprint_files([a])
    assert fingerprint_files([b]) == base
    assert fingerprint_files([a / "config.json", b / "sub"]) == fingerprint_files([b / "sub", a / "config.json"])
    (b / "config.json").rename(b / "other.json")
    assert fingerprint_files([b]) != base
    (a / "sub" / "weights").write_text("2")
    assert fingerprint_files([a]) != base


def test_fingerprint_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not found"):
        fingerprint_files([tmp_path / "no"])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `ouro` of its own: a -> b (in a function), a -> sub.c (relative), b -> a; d alone."""
    sources = {
        "ouro/__init__.py": "",
        "ouro/a.py": "import os\nfrom .sub import c\ndef f():\n    import ouro.b\n",
        "ouro/b.py": "from ouro import a\n",
        "ouro/d.py": "raise SystemExit('must not be executed')\n",
        "ouro/sub/__init__.py": "",
        "ouro/sub/c.py": "from ..b import a\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.setattr(code, "SOURCE_ROOT", tmp_path)
    return tmp_path


def test_imports_are_followed_through_functions_packages_and_cycles(package: Path) -> None:
    names = [p.relative_to(package).as_posix() for p in imported_files(["ouro.a"])]
    assert names == ["ouro/__init__.py", "ouro/a.py", "ouro/b.py", "ouro/sub/__init__.py", "ouro/sub/c.py"]
    assert imported_files(["ouro.d"]) == [package / "ouro/__init__.py", package / "ouro/d.py"]


def test_code_fingerprint_changes_with_an_import_and_not_with_a_stranger(package: Path) -> None:
    before = code_fingerprint(["ouro.a"])
    (package / "ouro/d.py").write_text("x = 1\n")
    assert code_fingerprint(["ouro.a"]) == before
    (package / "ouro/sub/c.py").write_text("from ..b import a\n\nx = 1\n")
    assert code_fingerprint(["ouro.a"]) != before


def test_unknown_module_is_an_error(package: Path) -> None:
    with pytest.raises(ArtifactError, match=r"module ouro\.nothing"):
        code_fingerprint(["ouro.nothing"])


def test_artifacts_need_records_and_files_only() -> None:
    assert {p.name for p in imported_files(["ouro.core.artifacts"])} == {
        "__init__.py",
        "artifacts.py",
        "errors.py",
        "files.py",
        "records.py",
        "stages.py",
    }


# ---- cache -----------------------------------------------------------------------------------------

KEY_PARTS: dict[str, Any] = {
    "stage": "describe",
    "code": "c0de",
    "params": {"prompt": "describe", "k": (1, 2)},
    "model": "nano",
    "inputs": ["a", "b"],
}


def _key(cache: ShardCache, **changed: Any) -> str:
    parts = KEY_PARTS | changed
    return cache.key(parts["stage"], parts["code"], parts["params"], parts["model"], parts["inputs"])


def test_key_depends_on_each_part_and_not_on_the_order_of_params(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path)
    changed = {
        "stage": "merge",
        "code": "f00d",
        "params": {"prompt": "describe", "k": (1, 3)},
        "model": "7b",
        "inputs": ["b", "a"],
    }
    keys = {_key(cache, **{name: value}) for name, value in changed.items()}
    assert len(keys | {_key(cache)}) == len(changed) + 1
    reordered = dict(reversed(KEY_PARTS["params"].items()))
    assert _key(cache, params=reordered) == _key(cache)


def _cached(tmp_path: Path) -> tuple[ShardCache, str, Path, Path]:
    cache, path = ShardCache(tmp_path / "cache"), _write(tmp_path / "regions")
    key = _key(cache)
    cache.put(key, shard_files(path))
    return cache, key, path, tmp_path / "cache" / key[:2] / key


def test_cached_shard_is_restored_byte_for_byte_over_an_older_one(tmp_path: Path) -> None:
    cache, key, path, _ = _cached(tmp_path)
    before = {p.name: p.read_bytes() for p in shard_files(path)}
    write_shard(path, Region, REGIONS[:1], n_in=1)
    assert cache.get(key, path.parent)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_restoring_removes_rejected_records_of_an_older_version(tmp_path: Path) -> None:
    cache, path = ShardCache(tmp_path / "cache"), tmp_path / "regions" / "shard-00000.parquet"
    write_shard(path, Region, REGIONS, n_in=2)
    cache.put("k" * 64, shard_files(path))
    _write(path.parent)
    assert rejected_path(path).exists()
    assert cache.get("k" * 64, path.parent)
    assert not rejected_path(path).exists()


def test_unknown_key_is_a_miss_and_writes_nothing(tmp_path: Path) -> None:
    assert not ShardCache(tmp_path / "cache").get("0" * 64, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "missing", "entry.json", "no entry.json"])
def test_damaged_entry_is_dropped_and_can_be_stored_again(tmp_path: Path, damage: str) -> None:
    cache, key, path, entry = _cached(tmp_path)
    if damage == "flip":
        _flip(entry / path.name, 50)
    elif damage == "missing":
        (entry / path.name).unlink()
    elif damage == "entry.json":
        (entry / "entry.json").write_text("[1, 2")
    else:
        (entry / "entry.json").unlink()
    assert not cache.get(key, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not entry.exists()
    cache.put(key, shard_files(path))
    assert cache.get(key, tmp_path / "out")
    assert read_shard(tmp_path / "out" / path.name, Region) == REGIONS


def test_many_writers_and_readers_of_one_key_see_it_whole_or_not_at_all(tmp_path: Path) -> None:
    cache, path = ShardCache(tmp_path / "cache"), _write(tmp_path / "regions")
    failures: list[BaseException] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        try:
            start.wait()
            out = tmp_path / f"out{number}"
            if number % 2:
                cache.put("a" * 64, shard_files(path))
            elif cache.get("a" * 64, out):
                assert read_shard(out / path.name, Region) == REGIONS
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert cache.get("a" * 64, tmp_path / "last")
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_leftovers_of_killed_writers_are_swept_after_a_day(tmp_path: Path) -> None:
    cache, path = ShardCache(tmp_path / "cache"), _write(tmp_path / "regions")
    old, young = tmp_path / "cache/tmp/old", tmp_path / "cache/tmp/young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    cache.put("b" * 64, shard_files(path))
    assert (old.exists(), young.exists()) == (False, True)
