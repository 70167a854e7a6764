"""One conversation, or one image, as a row of each format.

    ms-swift    https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html (read with 4.6)
    sharegpt    LLaMA-Factory, data/README.md (read with 0.9.5)
    llava       LLaVA, docs/Finetune_Custom_Data.md
    trl         TRL, "Dataset formats", conversational language modeling with images (read with 1.16)

`path` is the picture's path in the row. Weights become ms-swift's `loss_scale` of a message (it uses other values than
0 and 1 only with `--is_binary_loss_scale false`); the other formats have no field for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ouro.core.records import Image
from ouro.export.conversations import Conversation, replace_placeholders

Row = dict[str, Any]

# LLaMA-Factory's description of a dataset whose file is train.jsonl; the folder is its --dataset_dir.
DATASET_INFO: Row = {
    "ouro": {
        "file_name": "train.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    }
}


def make_ms_swift_row(conversation: Conversation, image: Image, path: str) -> Row:
    """Boxes in pixels; ms-swift converts them to the format of the model that it trains."""
    messages: list[Row] = []
    for n, turn in enumerate(conversation.turns):
        messages.append({"role": "user", "content": "<image>" * (n == 0) + turn.question})
        messages.append({"role": "assistant", "content": turn.answer, "loss_scale": turn.weight})
    row: Row = {"messages": messages, "images": [path], "channel": conversation.channel}
    if conversation.boxes:
        row["objects"] = {"ref": list(conversation.refs), "bbox": [list(box) for box in conversation.boxes]}
    return row


def make_llava_row(conversation: Conversation, image: Image, path: str) -> Row:
    """LLaVA's own format has a line break after the picture."""
    turns = _sharegpt_messages(conversation, image, "<image>\n")
    return {"id": conversation.conversation_id, "image": path, "conversations": turns}


def make_sharegpt_row(conversation: Conversation, image: Image, path: str) -> Row:
    return {"conversations": _sharegpt_messages(conversation, image, "<image>"), "images": [path]}


def _sharegpt_messages(conversation: Conversation, image: Image, picture: str) -> list[Row]:
    rows: list[Row] = []
    for n, turn in enumerate(replace_placeholders(conversation, image)):
        rows.append({"from": "human", "value": picture * (n == 0) + turn.question})
        rows.append({"from": "gpt", "value": turn.answer})
    return rows


def messages(conversations: Sequence[Conversation], image: Image) -> list[Row]:
    """All conversations about one image as one, so that its picture is stored and encoded once."""
    rows: list[Row] = []
    for turn in (turn for conversation in conversations for turn in replace_placeholders(conversation, image)):
        picture = [{"type": "image", "text": None}] * (not rows)
        rows.append({"role": "user", "content": [*picture, {"type": "text", "text": turn.question}]})
        rows.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    return rows
