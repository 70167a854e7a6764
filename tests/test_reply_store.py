"""The file of kept replies: what is damaged is set aside, said, and made anew; two processes at once included."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ouro.benchmarks.reply_store import ReplyStore, ReplyStoreError

ROOT = Path(__file__).resolve().parent.parent
MANY = {f"key {i:05}": "a reply of some length " * 20 for i in range(2000)}


def filled(path: Path) -> Path:
    store = ReplyStore(path)
    store.put(MANY)
    store.close()
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 40 * 4096] = b"\xa5" * (39 * 4096)
    path.write_bytes(data)


def overwrite_header(path: Path) -> None:
    path.write_bytes(b"no database at all " * 300)


def another_table(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE replies (question TEXT)")


DAMAGES = [truncate, overwrite_pages, overwrite_header, another_table]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_said_and_asking_goes_on(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = filled(tmp_path / "replies.db")
    damage(path)
    size, notes = path.stat().st_size, list[str]()
    store = ReplyStore(path, say=notes.append)
    kept = store.get(list(MANY))
    store.put({"new": "yes"})
    assert store.get(["new", "key 00000"]) == {"new": "yes"} and kept == {}
    [note] = notes
    assert str(path) in note and "replies.db.damaged-1" in note and "asked for again" in note
    assert (tmp_path / "replies.db.damaged-1").stat().st_size == size
    store.close()
    assert ReplyStore(path, say=notes.append).get(["new"]) == {"new": "yes"} and len(notes) == 1


def test_the_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    path = tmp_path / "replies.db"
    for number in (1, 2):
        path.write_bytes(b"damage %d " % number * 500)
        ReplyStore(path).close()
    assert [p.read_bytes()[:8] for p in sorted(tmp_path.glob("*.damaged-*"))] == [b"damage 1", b"damage 2"]


@pytest.mark.parametrize("damage", [overwrite_pages, overwrite_header])
def test_a_file_that_is_damaged_while_it_is_open_is_set_aside(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = filled(tmp_path / "replies.db")
    notes = list[str]()
    store, other = ReplyStore(path, say=notes.append), ReplyStore(path, say=notes.append)
    damage(path)
    for number, each in enumerate((store, other)):
        each.get(list(MANY))
        each.put({f"of {number}": "yes"})
    assert store.get(["of 0", "of 1"]) == other.get(["of 0", "of 1"]) == {"of 0": "yes", "of 1": "yes"}
    assert len(notes) == 1, "one sets it aside, the other opens what that one made"


def test_of_several_processes_that_find_the_damage_one_sets_the_file_aside(tmp_path: Path) -> None:
    path = filled(tmp_path / "replies.db")
    overwrite_pages(path)
    code = (
        "import sys, pathlib\nfrom ouro.benchmarks.reply_store import ReplyStore\n"
        "store = ReplyStore(pathlib.Path(sys.argv[1]), say=lambda note: print('note'))\n"
        "store.get([f'key {i:05}' for i in range(2000)])\n"
        "for i in range(50): store.put({f'{sys.argv[2]} {i}': 'yes'})"
    )
    words = [sys.executable, "-c", code, str(path)]
    processes = [
        subprocess.Popen([*words, str(n)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert [out for out, _ in outputs].count("note\n") == 1 == len(list(tmp_path.glob("*.damaged-?")))
    keys = [f"{n} {i}" for n in range(4) for i in range(50)]
    assert ReplyStore(path).get(keys).keys() == set(keys), "nothing that was put is lost"


def test_a_file_that_is_not_damaged_but_cannot_be_used_is_left_and_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.db"
    path.mkdir()
    with pytest.raises(ReplyStoreError, match=r"replies\.db: the file of kept replies cannot be used .* Fix: "):
        ReplyStore(path)
    assert path.is_dir()


def test_an_empty_reply_is_not_kept_and_one_of_an_earlier_version_not_used(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path / "replies.db")
    store.put({"a": "", "b": " \n", "c": "yes"})
    with sqlite3.connect(tmp_path / "replies.db") as db:
        db.execute("INSERT INTO replies VALUES ('d', '')")
    assert store.get(["a", "b", "c", "d"]) == {"c": "yes"}


def test_anew_only_what_it_was_given_counts_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = filled(tmp_path / "replies.db")
    store = ReplyStore(path, anew=True)
    assert store.get(["key 00000", "key 00001"]) == {}
    store.put({"key 00000": "another"})
    assert store.get(["key 00000", "key 00001"]) == {"key 00000": "another"}
    assert ReplyStore(path).get(["key 00000", "key 00001"]) == {"key 00000": "another", "key 00001": MANY["key 00001"]}
