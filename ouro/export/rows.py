"""One conversation, or one image, as a row of each format.

    ms-swift    https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html (read with 4.6)
    sharegpt    LLaMA-Factory, data/README.md (read with 0.9.5)
    llava       LLaVA, docs/Finetune_Custom_Data.md
    trl         TRL, "Dataset formats", conversational language modeling with images (read with 1.16)

`path` is the picture's, as it stands in the row. Weights become ms-swift's `loss_scale` of a message (only with
`--is_binary_loss_scale false` does it use other values than 0 and 1); the other formats have no place for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ouro.core.records import Image
from ouro.export.conversations import Conversation, spelled_out

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


def ms_swift_row(conversation: Conversation, image: Image, path: str) -> Row:
    """Boxes in pixels; ms-swift turns them into the form of the model that it trains."""
    messages: list[Row] = []
    for n, turn in enumerate(conversation.turns):
        messages.append({"role": "user", "content": "<image>" * (n == 0) + turn.question})
        messages.append({"role": "assistant", "content": turn.answer, "loss_scale": turn.weight})
    row: Row = {"messages": messages, "images": [path], "channel": conversation.channel}
    if conversation.boxes:
        row["objects"] = {"ref": list(conversation.refs), "bbox": [list(box) for box in conversation.boxes]}
    return row


def llava_row(conversation: Conversation, image: Image, path: str) -> Row:
    """The picture's line break is LLaVA's."""
    turns = _human_and_gpt(conversation, image, "<image>\n")
    return {"id": conversation.conversation_id, "image": path, "conversations": turns}


def sharegpt_row(conversation: Conversation, image: Image, path: str) -> Row:
    return {"conversations": _human_and_gpt(conversation, image, "<image>"), "images": [path]}


def _human_and_gpt(conversation: Conversation, image: Image, picture: str) -> list[Row]:
    made: list[Row] = []
    for n, turn in enumerate(spelled_out(conversation, image)):
        made.append({"from": "human", "value": picture * (n == 0) + turn.question})
        made.append({"from": "gpt", "value": turn.answer})
    return made


def messages(said: Sequence[Conversation], image: Image) -> list[Row]:
    """All conversations about one image as one, so that its picture is stored and encoded once."""
    made: list[Row] = []
    for turn in (turn for conversation in said for turn in spelled_out(conversation, image)):
        picture = [{"type": "image", "text": None}] * (not made)
        made.append({"role": "user", "content": [*picture, {"type": "text", "text": turn.question}]})
        made.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    return made
