"""Prefect artifacts of a stage: counts by shard, a sample, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ouro.core.artifacts import Sidecar
from tasks import screen


def count_artifact(stage: str, names: Sequence[str], sidecars: Sequence[Sidecar]) -> None:
    """In, out and rejected of every shard, as a table in Prefect."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(
        key=f"{stage}-counts",
        table=screen.count_rows(names, sidecars),
        description=f"{stage}: records by shard",
    )


def sample_artifact(stage: str, title: str, text: str) -> None:
    """Show one sample of a stage's result in Prefect. The text may come from a model: it is fenced."""
    from prefect.artifacts import create_markdown_artifact

    fenced = text.replace("```", "'''")
    create_markdown_artifact(
        key=f"{stage}-sample",
        markdown=f"# {title}\n\n```text\n{fenced}\n```\n",
        description=f"{stage}: one sample",
    )


def image_artifact(stage: str, title: str, path: Path, side: int = 512) -> None:
    """Show a stored PNG in Prefect, scaled to at most `side` pixels, embedded in the artifact itself."""
    import base64
    import io

    from PIL import Image as PILImage
    from prefect.artifacts import create_image_artifact

    with PILImage.open(path) as file:
        picture = file.convert("RGB")
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    create_image_artifact(image_url=uri, key=f"{stage}-image", description=title)
