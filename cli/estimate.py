"""`ouro estimate`: what a round would cost, before anyone spends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import ParamsFile, Profile, Set, read_params

if TYPE_CHECKING:
    from ouro.costs.estimate import CostEstimate, StageCost
    from tasks.estimating import Figures, Options


def estimate(
    images: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many images; by default those of --like, or of nano.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Their typical size in pixels.", show_default="1024x768")
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Another assumption, e.g. regions=40. May be repeated."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Measure the assumptions on what `ouro annotate --out` wrote, or data."),
    ] = None,
    gpu: Annotated[
        str, typer.Option(metavar="NAME", help="h100, h100-pcie, h200, b200, a100, a100-40, l40s, l4, a10, mi300x.")
    ] = "h100",
    gpus: Annotated[int, typer.Option(min=1, metavar="N", help="How many work side by side, for the days.")] = 8,
    mfu_train: Annotated[float, typer.Option(metavar="SHARE", help="Of the peak FLOP/s that training reaches.")] = 0.45,
    mfu_prefill: Annotated[float, typer.Option(metavar="SHARE", help="And that reading prompts reaches.")] = 0.5,
    measured: Annotated[
        bool, typer.Option("--measured", help="Scale the seconds of the last `ouro bootstrap` here instead.")
    ] = False,
    price: Annotated[float | None, typer.Option(min=0, metavar="X", help="Of one GPU for an hour.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Say what a round would cost: calls, tokens, FLOPs and GPU-hours by stage, with the formulas. Runs no model.

    What the params do not say is assumed, and every assumption is printed with its source. docs/estimate.md explains.

    \b
    Examples:
      ouro estimate --profile paper --images 1400000
      ouro estimate --profile paper --images 50000 --gpu a100 --gpus 4 --price 1.5 --size 640x480
      ouro estimate --profile paper --images 1400000 --assume regions=40 --set train.packing=separate
      ouro estimate --profile paper --images 1400000 --like out/photos
      ouro estimate --images 4000 --measured
    """
    import json

    from tasks.estimating import Options, estimate_round

    options = Options(images, size, tuple(assume or []), like, gpu, gpus, mfu_train, mfu_prefill, measured, price)
    figures = estimate_round(read_params(params, profile, set_), options)
    if json_:
        print(json.dumps(_plain(figures, options), indent=2))
    else:
        show(figures, options)


def _plain(figures: Figures, options: Options) -> dict[str, Any]:
    hours = figures.estimate.seconds() / 3600
    values = {name: getattr(figures.assumed.values, name) for name in figures.assumed.sources}
    return {
        **figures.estimate.to_json(),
        "rates": None if options.measured else {**figures.rates._asdict(), "gpu": figures.rates.gpu._asdict()},
        "gpus": options.gpus,
        "days": hours / options.gpus / 24,
        "cost": None if options.price is None else hours * options.price,
        "assumptions": {n: {"value": v, "source": figures.assumed.sources[n]} for n, v in values.items()},
        "notes": figures.notes,
    }


def show(figures: Figures, options: Options) -> None:
    """The table, the totals, the formulas and the assumptions."""
    from rich.markup import escape
    from rich.table import Table

    from tasks import screen

    unit = "hours" if options.measured else "GPU-hours"
    table = Table(title=f"{figures.estimate.images:,.0f} images", box=None, padding=(0, 0, 0, 2))
    table.add_column("stage", no_wrap=True)
    for name in ("calls", "tokens in", "tokens out", "FLOPs", unit, "core-hours"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in figures.estimate.stages:
        table.add_row(*map(escape, _cells(stage)))
    table.add_row(*_cells(total(figures.estimate)))
    screen.console().print(table, soft_wrap=False)
    for line in (*_summary(figures, options), "formulas:", *_formulas(figures.estimate.stages)):
        screen.say(line)
    screen.say("assumptions (--assume NAME=NUMBER, or --like DIR):")
    for name, source in figures.assumed.sources.items():
        screen.say(f"  {name} {getattr(figures.assumed.values, name):g}: {source}")


def total(costs: CostEstimate) -> StageCost:
    """The sum of all stages."""
    from ouro.costs.estimate import StageCost

    parts = {name: sum(getattr(s, name) or 0.0 for s in costs.stages) for name in StageCost._fields[1:7]}
    return StageCost("total")._replace(**parts)


def _cells(s: StageCost) -> list[str]:
    hours = "?" if s.seconds is None else _number(s.seconds / 3600)
    return [s.stage, *map(_short, (s.calls, s.read, s.written, s.flops)), hours, _short(s.cpu_seconds / 3600)]


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: float) -> str:
    """Three digits and a unit: 1.40 M; "-" for nothing."""
    if not value:
        return "-"
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1e21 else f"{value / size:,.0f} {unit}"
    return f"{value:.3g}"


def _summary(figures: Figures, options: Options) -> list[str]:
    hours = figures.estimate.seconds() / 3600
    gpu = figures.rates.gpu
    if options.measured:
        lines = [f"total: {hours:,.4g} hours on the machine of the last round"]
    else:
        days = _number(hours / options.gpus / 24)
        sheet = f"{gpu.peak / 1e12:,.0f} dense bf16 TFLOP/s, {gpu.bandwidth / 1e12:g} TB/s: {gpu.source}"
        lines = [
            f"total: {_number(hours)} GPU-hours: {days} days on {options.gpus} x {options.gpu} ({sheet}); "
            "rates assumed, not measured"
        ]
    if options.price is not None:
        lines.append(f"cost: {hours * options.price:,.0f} at {options.price:g} per GPU-hour; CPUs not priced")
    return [*lines, *figures.notes, _packings(figures.estimate)]


def _packings(costs: CostEstimate) -> str:
    """What train.packing saves or wastes."""
    train, each = next(s for s in costs.stages if s.stage == "train"), costs.packings
    hours = (train.seconds or 0.0) / 3600 / train.flops if train.flops else 0.0
    parts = [
        f"{name} {_short(flops)}FLOPs, {_number(flops * hours)} h ({flops / each['shared']:.2f} x)"
        for name, flops in each.items()
    ]
    return f"training by train.packing, beside shared: {'; '.join(parts)}"


def _formulas(stages: Sequence[StageCost]) -> list[str]:
    return [f"  {s.stage}: {s.formula}" for s in stages]
