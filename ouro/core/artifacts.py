"""The only reader and writer of Parquet shards and their sidecars.

A shard is `shard-00000.parquet` (one kind of record), beside it `shard-00000.json` (the sidecar: counts by
reason, and what the stage wants to say) and, when records were dropped, `shard-00000.rejected.parquet`.
The sidecar is written last and removed first: a shard without one is unfinished. Same records, same bytes.
Atomic writes and fingerprints are offered here too; they live in ouro.core.files.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ouro.core.files import (
    ArtifactError,
    fingerprint_files,
    json_bytes,
    publish,
    remedy,
    write_bytes,
    write_json,
    write_text,
)
from ouro.core.records import Record, Rejected, from_row, schema, to_row
from ouro.core.stages import SHARD_STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ArtifactError", "Sidecar", "fingerprint_files", "list_shards",
    "prune_shards", "read_all", "read_shard", "read_sidecar", "rejected_path", "shard_files",
    "sidecar_path", "write_bytes", "write_json", "write_shard", "write_text",
]  # fmt: skip

R = TypeVar("R", bound=Record)

STAGE_OF: dict[type[Any], str] = {stage.kind: stage.name for stage in SHARD_STAGES}
_SHARD = re.compile(r"(shard-\d{5,})\.parquet")
_SHARD_PART = re.compile(r"(shard-\d{5,})(\.parquet|\.rejected\.parquet|\.json)?")


@dataclass(frozen=True)
class Sidecar:
    """The counts of one shard: n_in == n_out + the sum over `rejected` (reason -> count)."""

    kind: str
    n_in: int
    n_out: int
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    meta: dict[str, Any] = field(default_factory=dict[str, Any])


# ---- shards --------------------------------------------------------------------------------------


def write_shard(
    path: Path,
    kind: type[R],
    records: Sequence[R],
    *,
    n_in: int,
    rejected: Sequence[Rejected] = (),
    meta: Mapping[str, Any] | None = None,
) -> Sidecar:
    """Write records, rejected records and sidecar. Raises ArtifactError when the counts do not add up."""
    if n_in != len(records) + len(rejected):
        raise ArtifactError(
            f"{path}: {n_in} in, but {len(records)} out + {len(rejected)} rejected; expected in = out +"
            " rejected: a defect of the stage, every drop needs a Rejected record"
        )
    reasons = dict(sorted(Counter(r.reason for r in rejected).items()))
    sidecar = Sidecar(kind.__name__, n_in, len(records), reasons, dict(meta or {}))
    files = {path.name: _parquet_bytes(path, kind, records)}
    if rejected:
        files[rejected_path(path).name] = _parquet_bytes(rejected_path(path), Rejected, rejected)
    files[sidecar_path(path).name] = json_bytes(sidecar_path(path), asdict(sidecar))
    publish(path.parent, files)
    return sidecar


def sidecar_path(path: Path) -> Path:
    """shard-00000.parquet -> shard-00000.json (a .json path is returned as it is)."""
    return path.with_suffix(".json")


def rejected_path(path: Path) -> Path:
    """shard-00000.parquet -> shard-00000.rejected.parquet."""
    return path.with_suffix(".rejected.parquet")


def shard_files(path: Path) -> list[Path]:
    """The existing files of a finished shard: data, rejected records if any, sidecar last."""
    return [p for p in (path, rejected_path(path), sidecar_path(path)) if p.is_file()]


def _parquet_bytes(path: Path, kind: type[Any], records: Sequence[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [to_row(r) for r in records]
    try:
        table = pa.Table.from_pylist(rows, schema=schema(kind))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(f"{path}: {_bad_row(kind, rows)}: {error}") from error
    return sink.getvalue().to_pybytes()


def _bad_row(kind: type[Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Where the first value sits that does not fit the schema."""
    import pyarrow as pa

    for index, row in enumerate(rows):
        for column in schema(kind):
            value = row[column.name]
            try:
                fits = column.nullable or value is not None
                pa.array([value], type=column.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                fits = False
            if not fits:
                return f"row {index}, column {column.name!r}: got {value!r}, expected {column.type}"
    return f"{len(rows)} records do not fit the schema of {kind.__name__}"


def read_shard(path: Path, kind: type[R]) -> list[R]:
    """The records of one finished shard, in order. Raises ArtifactError: file, column or row, fix."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ArtifactError(f"{path}: not found; expected a shard of {kind.__name__} records; {_fix(path, kind)}")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a readable Parquet file ({error}); {_fix(path, kind)}") from error
    _check_schema(path, kind, table.schema)
    if _SHARD.fullmatch(path.name):
        _check_count(path, kind, len(rows))
    required = [column.name for column in schema(kind) if not column.nullable]
    return [_record(path, kind, index, row, required) for index, row in enumerate(rows)]


def _check_schema(path: Path, kind: type[Any], stored: Any) -> None:
    for column in schema(kind):
        if column.name not in stored.names:
            raise ArtifactError(f"{path}: no column {column.name!r}, expected {column.type}; {_fix(path, kind)}")
        got = stored.field(column.name).type
        if not got.equals(column.type):
            raise ArtifactError(f"{path}: column {column.name!r}: {got}, expected {column.type}; {_fix(path, kind)}")


def _check_count(path: Path, kind: type[Any], rows: int) -> None:
    sidecar = read_sidecar(path)
    if sidecar.kind != kind.__name__ or sidecar.n_out != rows:
        raise ArtifactError(
            f"{path}: got {rows} rows, expected {kind.__name__}; its sidecar says {sidecar.n_out} rows of"
            f" {sidecar.kind}; {_fix(path, kind)}"
        )


def _record(path: Path, kind: type[R], index: int, row: Mapping[str, Any], required: Sequence[str]) -> R:
    for name in required:
        if row[name] is None:
            raise ArtifactError(f"{path} row {index}: column {name!r} is null; {_fix(path, kind)}")
    try:
        return from_row(kind, row)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} row {index}: not a {kind.__name__} ({error!r}); {_fix(path, kind)}") from error


def _fix(path: Path, kind: type[Any]) -> str:
    return remedy(path, STAGE_OF[kind]) if kind in STAGE_OF else "rerun the stage that wrote it"


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of a shard, given the shard's path or its own. Raises ArtifactError."""
    path = sidecar_path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: not found: its shard was never finished; {remedy(path)}")
    try:
        sidecar = Sidecar(**json.loads(path.read_bytes()))
        counts = (sidecar.n_in, sidecar.n_out, *sidecar.rejected.values())
        if any(type(n) is not int for n in (*counts, len(sidecar.kind))):
            raise TypeError("its counts are no whole numbers")
    except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ArtifactError(f"{path}: not a sidecar ({error}); {remedy(path)}") from error
    return sidecar


def list_shards(folder: Path) -> list[Path]:
    """The data shards of a folder in order of their number. Raises ArtifactError without the folder."""
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such folder; expected shards (shard-00000.parquet); {remedy(folder)}")
    shards = [p for p in folder.iterdir() if _SHARD.fullmatch(p.name)]
    return sorted(shards, key=lambda p: (len(p.name), p.name))


def read_all(folder: Path, kind: type[R]) -> list[R]:
    """The records of all shards of a folder, in order. Raises ArtifactError."""
    return [record for path in list_shards(folder) for record in read_shard(path, kind)]


def prune_shards(folder: Path, keep: Iterable[Path]) -> None:
    """Remove what earlier, larger runs left in a stage's output folder: files of shards not in `keep`."""
    stems = {p.stem for p in keep}
    for path in sorted(folder.iterdir()):  # in this order a sidecar goes before its data
        part = _SHARD_PART.fullmatch(path.name)
        if part is None or part[1] in stems:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
