"""The samples of a training in one Arrow file, read memory-mapped: memory does not grow with the collection.

The file is written shard by shard and atomically, and holds no dates or paths: the same samples give the same bytes.
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
from ouro.training.samples import QuestionAnswer, Sample, SampleRegion

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FORMAT = b"ouro samples 1"


def _make_schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    part_type = pa.struct([("region_id", text), ("box", pa.list_(pa.float64(), 4)), ("level", number), ("text", text)])
    pair_type = pa.struct([("question", text), ("answer", text), ("aspect", text)])
    fields = [
        ("image_id", text), ("path", text), ("width", number), ("height", number), ("parts", pa.list_(part_type)),
        ("description", text), ("pairs", pa.list_(pair_type)), ("length", number),
    ]  # fmt: skip
    return pa.schema(fields, metadata={"format": FORMAT})


def write_samples(path: Path, shards: Iterable[Sequence[Sample]]) -> SampleFile:
    """Write one record batch per shard (none for an empty shard), atomically; returns the opened file."""
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _make_schema()) as file:
            for shard in shards:
                if shard:
                    file.write_batch(pa.RecordBatch.from_pylist([_to_row(s) for s in shard], schema=_make_schema()))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return SampleFile(path)


def store_samples(folder: Path, shards: Iterable[Sequence[Sample]]) -> SampleFile:
    """As write_samples, to a file in `folder` that is named by a hash of its content, so that concurrent trainings on
    different samples use different files."""
    sample_file = write_samples(folder / f".samples-{os.getpid()}.arrow", shards)
    path = folder / f"samples-{sample_file.fingerprint[:16]}.arrow"
    os.replace(sample_file.path, path)
    return SampleFile(path)


def _to_row(sample: Sample) -> dict[str, Any]:
    width, height = sample.size
    return {
        "image_id": sample.image_id, "path": sample.path, "width": width, "height": height,
        "parts": [part._asdict() for part in sample.parts], "description": sample.description,
        "pairs": [pair._asdict() for pair in sample.pairs], "length": len(sample.description),
    }  # fmt: skip


def _from_row(row: dict[str, Any]) -> Sample:
    parts = tuple(SampleRegion(p["region_id"], tuple(p["box"]), p["level"], p["text"]) for p in row["parts"])
    pairs = tuple(QuestionAnswer(**pair) for pair in row["pairs"])
    return Sample(row["image_id"], row["path"], (row["width"], row["height"]), parts, row["description"], pairs)


class SampleFile(Sequence[Sample]):
    """The samples of the file `path`. Pickled as its path alone; the file is opened at the first read.

    Raises ArtifactError for a file that is missing or not a sample file of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._check()

    def _check(self) -> None:
        import pyarrow as pa

        try:
            file_format = (self._reader.schema.metadata or {}).get(b"format")
        except (OSError, pa.ArrowException) as error:
            raise ArtifactError(f"{self.path}: no readable sample file: {error}; train again") from error
        if file_format != FORMAT:
            raise ArtifactError(f"{self.path}: got the format {file_format!r}, expected {FORMAT!r}; train again")

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleFile, (self.path,)

    @cached_property
    def _reader(self) -> Any:
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(self.path)))

    @cached_property
    def _ends(self) -> list[int]:
        """The cumulative number of samples after each batch."""
        return list(accumulate(self._reader.get_batch(i).num_rows for i in range(self._reader.num_record_batches)))

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """(samples,) number of characters of each description: 4 bytes per sample are all that is held in memory."""
        import numpy as np

        batches = (self._reader.get_batch(i) for i in range(self._reader.num_record_batches))
        columns = [batch.column("length").to_numpy() for batch in batches]
        return np.concatenate(columns) if columns else np.zeros(0, np.int32)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the file's bytes."""
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
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        number = bisect.bisect_right(self._ends, position)
        first = self._ends[number - 1] if number else 0
        return _from_row(self._reader.get_batch(number).slice(position - first, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


def read_lengths(samples: Sequence[Sample]) -> NDArray[np.int32]:
    """(samples,) number of characters of each description."""
    import numpy as np

    if isinstance(samples, SampleFile):
        return samples.lengths
    return np.array([len(s.description) for s in samples], np.int32)
