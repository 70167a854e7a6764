"""Stage train: a LoRA adapter on full images and k regions. `python -m flows.train`"""

from __future__ import annotations

import json

from prefect import flow

from flows import screen
from flows.runner import measured, run_stage
from ouro.params import Params
from tasks.layout import ADAPTER, Layout
from tasks.train import LOG
from tasks.train import train as train_task


@flow(name="train", validate_parameters=False)
def train(params: Params, layout: Layout) -> None:
    with measured("train", layout), screen.steps("train") as on_step:
        train_task(layout, params, ADAPTER, on_step)
    curve = json.loads((ADAPTER / LOG).read_text())
    if curve:
        _curve_artifact(curve)
        last = curve[-1]
        screen.say(f"train: {ADAPTER}, L_desc {last['loss_desc']:.3f}, L_qa {last['loss_qa']:.3f} at the end")


def _curve_artifact(curve: list[dict[str, float]]) -> None:
    from prefect.artifacts import create_table_artifact

    every = max(1, len(curve) // 40)
    create_table_artifact(key="train-losses", table=curve[::every], description="train: losses by step")


if __name__ == "__main__":
    run_stage(train)
