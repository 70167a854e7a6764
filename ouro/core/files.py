"""Plain files: atomic writes, fingerprints of contents and first-party code, the cache of shard results."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SOURCE_ROOT = Path(__file__).resolve().parents[2]
_DAY = 86_400.0  # seconds


class ArtifactError(OuroError, ValueError):
    """A stored file that is missing, damaged or not what was expected: names it and the fix."""


# ---- atomic writes -------------------------------------------------------------------------------


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary file in the same folder, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, obj: Any) -> None:
    """Write strict JSON (no NaN), keys in the order given, atomically. Raises ArtifactError."""
    write_bytes(path, json_bytes(path, obj))


def json_bytes(path: Path, obj: Any) -> bytes:
    """The bytes that `write_json` writes to `path`. Raises ArtifactError for what JSON cannot hold."""
    try:
        return (json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not JSON: {error}; expected plain finite values") from error


def publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that belong together: a .json goes first and comes last, the sign of completeness.

    What an earlier version of the group "x.json" had beside it (x.*) and this one has not is removed.
    """
    for sign in (name for name in files if name.endswith(".json")):
        (folder / sign).unlink(missing_ok=True)
        for old in folder.glob(f"{sign.removesuffix('.json')}.*"):
            if old.name not in files:
                old.unlink()
    for name in sorted(files, key=lambda n: (n.endswith(".json"), n)):
        write_bytes(folder / name, files[name])


def sync(*paths: Path) -> None:
    """Wait until files are on the disk with their contents, and folders with the names of what lies in them."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---- fingerprints --------------------------------------------------------------------------------


def fingerprint_files(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over names and contents, in any order and place; folders with all in them.

    Raises ArtifactError for a path that does not exist.
    """
    entries: list[tuple[str, str]] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file())
            entries += [(p.relative_to(path).as_posix(), _digest(p)) for p in inside]
        elif path.is_file():
            entries.append((path.name, _digest(path)))
        else:
            raise ArtifactError(f"{path}: not found; expected a file or folder to fingerprint")
    return hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_fingerprint(modules: Sequence[str], packages: Sequence[str] = ("ouro",)) -> str:
    """SHA-256 (hex) over the sources of `modules` and of all that they import of `packages`, transitively."""
    files = imported_files(modules, packages)
    sources = [(p.relative_to(SOURCE_ROOT).as_posix(), p.read_text("utf-8")) for p in files]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def imported_files(modules: Sequence[str], packages: Sequence[str] = ("ouro",)) -> list[Path]:
    """The source files behind `modules` ("ouro.annotate.merge") and their imports within `packages`, sorted.

    Imports inside functions count. Nothing is executed. Raises ArtifactError for an unknown module.
    """
    paths: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in paths:
            continue
        path = _source(name)
        if path is None:
            raise ArtifactError(f"module {name}: no source under {SOURCE_ROOT}; expected one like ouro.core.boxes")
        paths[name] = path
        todo += [m for m in (*_parents(name), *_imports(name, path)) if m.split(".")[0] in packages]
    return sorted(set(paths.values()))


def _source(module: str) -> Path | None:
    base = SOURCE_ROOT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _imports(module: str, path: Path) -> Iterator[str]:
    """Names of modules that a source file imports; for `from a import b` also a.b where that is a module."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (n for n in (f"{base}.{alias.name}" for alias in node.names) if _source(n) is not None)


# ---- the cache of shard results ------------------------------------------------------------------


class ShardCache:
    """Content-addressed results of shard tasks, outside DVC's outputs: a killed run resumes from here.

    An entry is a folder `<root>/<key[:2]>/<key>` of plain files and `entry.json` with their SHA-256.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, stage: str, code: str, params: Mapping[str, Any], model: str, inputs: Sequence[str]) -> str:
        """SHA-256 (hex) of everything that the result of one shard depends on; `inputs` keep their order."""
        parts = {"stage": stage, "code": code, "params": params, "model": model, "inputs": list(inputs)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def put(self, key: str, files: Sequence[Path]) -> None:
        """Store copies of `files` under `key`. When two writers meet, one entry wins whole."""
        if len({f.name for f in files}) != len(files):
            raise ArtifactError(f"cache entry {key}: file names repeat in {[str(f) for f in files]}")
        self._sweep()
        temporary = self.root / "tmp" / uuid.uuid4().hex
        hashes: dict[str, str] = {}
        for file in files:
            data = file.read_bytes()
            hashes[file.name] = hashlib.sha256(data).hexdigest()
            write_bytes(temporary / file.name, data)
        write_json(temporary / "entry.json", {"files": hashes})
        entry = self._entry(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(temporary, entry)
        except OSError:  # the entry exists already: somebody else stored the same result
            shutil.rmtree(temporary)
            if not entry.is_dir():
                raise

    def get(self, key: str, folder: Path) -> bool:
        """Restore the files of `key` into `folder`; False on a miss. A damaged entry is dropped: a miss."""
        entry = self._entry(key)
        if not entry.is_dir():
            return False
        try:
            hashes: dict[str, str] = json.loads((entry / "entry.json").read_bytes())["files"]
            contents = {name: (entry / Path(name).name).read_bytes() for name in hashes}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return self._drop(entry)
        if any(hashlib.sha256(contents[name]).hexdigest() != hashes[name] for name in hashes):
            return self._drop(entry)
        publish(folder, contents)
        return True

    def _entry(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _drop(self, entry: Path) -> bool:
        grave = self.root / "tmp" / uuid.uuid4().hex
        grave.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another reader dropped it first
            os.rename(entry, grave)
            shutil.rmtree(grave)
        return False

    def _sweep(self) -> None:
        """Remove the unfinished entries of writers that were killed more than a day ago."""
        folder = self.root / "tmp"
        for leftover in folder.iterdir() if folder.is_dir() else ():
            if time.time() - leftover.stat().st_mtime > _DAY:
                shutil.rmtree(leftover, ignore_errors=True)
