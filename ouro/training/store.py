"""Samples of a training in one Arrow file, read memory-mapped: a collection of any size costs no memory.

The file is made shard by shard, whole or not at all, and holds no time or path of its making: same samples, same bytes.
"""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ouro.core.files import ArtifactError
from ouro.training.samples import Asked, Part, Sample

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FORMAT = b"ouro samples 1"


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    part = pa.struct([("region_id", text), ("box", pa.list_(pa.float64(), 4)), ("level", number), ("text", text)])
    asked = pa.struct([("question", text), ("answer", text), ("aspect", text)])
    fields = [
        ("image_id", text), ("path", text), ("width", number), ("height", number), ("parts", pa.list_(part)),
        ("description", text), ("pairs", pa.list_(asked)), ("length", number),
    ]  # fmt: skip
    return pa.schema(fields, metadata={"format": FORMAT})


def write_samples(path: Path, shards: Iterable[Sequence[Sample]]) -> SampleFile:
    """Write one record batch a shard (empty ones are left out), atomically; returns the file, opened."""
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _schema()) as file:
            for shard in shards:
                if shard:
                    file.write_batch(pa.RecordBatch.from_pylist([_to_row(s) for s in shard], schema=_schema()))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return SampleFile(path)


def keep_samples(folder: Path, shards: Iterable[Sequence[Sample]]) -> SampleFile:
    """As write_samples, to a file in `folder` that is named after its content: two trainings at once that see other
    samples do not meet in it."""
    made = write_samples(folder / f".samples-{os.getpid()}.arrow", shards)
    kept = folder / f"samples-{made.fingerprint[:16]}.arrow"
    os.replace(made.path, kept)
    return SampleFile(kept)


def _to_row(sample: Sample) -> dict[str, Any]:
    width, height = sample.size
    return {
        "image_id": sample.image_id, "path": sample.path, "width": width, "height": height,
        "parts": [part._asdict() for part in sample.parts], "description": sample.description,
        "pairs": [asked._asdict() for asked in sample.pairs], "length": len(sample.description),
    }  # fmt: skip


def _from_row(row: dict[str, Any]) -> Sample:
    parts = tuple(Part(p["region_id"], tuple(p["box"]), p["level"], p["text"]) for p in row["parts"])
    pairs = tuple(Asked(**asked) for asked in row["pairs"])
    return Sample(row["image_id"], row["path"], (row["width"], row["height"]), parts, row["description"], pairs)


class SampleFile(Sequence[Sample]):
    """The samples of `path`. Travels between processes by its path, and is opened where it is first read.

    Raises ArtifactError for a file that is missing or no sample file of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._check()

    def _check(self) -> None:
        import pyarrow as pa

        try:
            known = (self._reader.schema.metadata or {}).get(b"format")
        except (OSError, pa.ArrowException) as error:
            raise ArtifactError(f"{self.path}: no readable sample file: {error}; train again") from error
        if known != FORMAT:
            raise ArtifactError(f"{self.path}: got the format {known!r}, expected {FORMAT!r}; train again")

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleFile, (self.path,)

    @cached_property
    def _reader(self) -> Any:
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(self.path)))

    @cached_property
    def _ends(self) -> list[int]:
        """Number of samples up to the end of each batch."""
        return list(accumulate(self._reader.get_batch(i).num_rows for i in range(self._reader.num_record_batches)))

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """(samples,) characters of each description: 4 bytes a sample, all that is held of them."""
        import numpy as np

        batches = (self._reader.get_batch(i) for i in range(self._reader.num_record_batches))
        made = [batch.column("length").to_numpy() for batch in batches]
        return np.concatenate(made) if made else np.zeros(0, np.int32)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the file."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        number = bisect.bisect_right(self._ends, at)
        first = self._ends[number - 1] if number else 0
        return _from_row(self._reader.get_batch(number).slice(at - first, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


def lengths_of(samples: Sequence[Sample]) -> NDArray[np.int32]:
    """(samples,) characters of each description."""
    import numpy as np

    if isinstance(samples, SampleFile):
        return samples.lengths
    return np.array([len(s.description) for s in samples], np.int32)
