"""`ouro estimate`: what a round would cost, before anyone spends it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ouro.core.layout import PIPELINE, Layout, layout_of
from ouro.core.params import Params, load_params
from ouro.core.rates import Rates, rates
from ouro.core.state import CHECKOUT
from ouro.costs.assumptions import Assumed, AssumptionError, assumed, with_values
from ouro.costs.estimate import Estimate, Inputs, Stage, estimate, fits, unit_seconds
from ouro.costs.workload import Pictures, pictures
from ouro.nano.model import is_nano
from ouro.pages.gallery_data import Folders
from ouro.vision.architecture import Architecture, Sight, architecture, model_config, sight
from tasks import screen

LAST = CHECKOUT.last_round
TOKENS_A_WORD = 1.3
PICTURED = ("width", "height", "area1", "area2", "area3")  # with --like measured picture by picture


class EstimateError(ValueError):
    """An estimate that cannot be made of what was given."""


class Options(NamedTuple):
    """What the command line says beside the params. `gpus`: at work side by side; `price` of one for an hour."""

    images: int | None = None
    size: str | None = None
    assume: Sequence[str] = ()
    like: Path | None = None
    gpu: str = "h100"
    gpus: int = 8
    mfu_train: float = 0.45
    mfu_prefill: float = 0.5
    measured: bool = False
    price: float | None = None
    as_json: bool = False


class Made(NamedTuple):
    """An estimate and what a person has to know to believe it."""

    estimate: Estimate
    assumed: Assumed
    rates: Rates
    notes: list[str]


def run(params: Params, options: Options) -> None:
    """The command. Raises EstimateError, AssumptionError, RateError, ArchitectureError and what --like raises."""
    made = make(params, options)
    if options.as_json:
        print(json.dumps(_plain(made, options), indent=2))
        return
    show(made, options)


def make(params: Params, options: Options) -> Made:
    """The estimate."""
    chosen = rates(options.gpu, options.mfu_train, options.mfu_prefill, params.model.backend == "openai")
    known = _Model(params.model.base)
    given, said, found = _inputs(params, options, known)
    images = _images(params, options, found)
    last = _last_round(known) if options.measured else None
    notes = [f"model: {known.where}", known.counting]
    notes += [last.note] if last else [fits(given, chosen)]
    return Made(estimate(given, images, chosen, last.seconds if last else None), said, chosen, notes)


class _Model:
    """The architecture of model.base, how it sees pictures, how it counts tokens."""

    def __init__(self, base: str) -> None:
        config, self.where = model_config(base)
        self.base = base
        self.arch: Architecture = architecture(config)
        self.sight: Sight = sight(base, self.arch.vision)
        self.tokens_of, self.counting = _tokens(Path(base) / "tokenizer.json")


def _tokens(path: Path) -> tuple[Callable[[str], float], str]:
    if not path.is_file():
        note = f"tokens: {TOKENS_A_WORD:g} a word, assumed ({path} is not there to count them)"
        return (lambda text: TOKENS_A_WORD * len(text.split())), note
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return (lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)), f"tokens: counted by {path}"


def _inputs(params: Params, options: Options, known: _Model) -> tuple[Inputs, Assumed, int]:
    """What decides the work, the assumptions with their sources, and how many images --like has."""
    said = assumed(params, is_nano(Path(known.base)))
    given = _assignments(options)
    found, seen = 0, None
    if options.like is not None:
        if clash := sorted(set(given) & set(PICTURED)):
            raise EstimateError(
                f"--like {options.like} measures {', '.join(clash)}; leave --size and --assume of it out"
            )
        found, values, seen = _like(options.like, params, known)
        said = with_values(said, values, f"measured on {options.like}")
    said = with_values(said, given, "given")
    seen = seen or pictures(params, known.sight, said.values)
    return Inputs(params, known.arch, known.sight, said.values, seen, known.tokens_of), said, found


def _like(root: Path, params: Params, known: _Model) -> tuple[int, dict[str, float], Pictures]:
    from ouro.costs.workload_like import measure

    layout = layout_of(root)
    folders = Folders(layout.images, layout.regions, layout.descriptions, layout.scenes, layout.qa)
    found = measure(root, folders, params, known.sight, known.tokens_of)
    if not found.images:
        raise EstimateError(f"--like {root}: holds no training image; expected an annotated dataset with some")
    return found.images, {**found.values, **_questions(layout)}, found.seen


def _questions(layout: Layout) -> dict[str, float]:
    """How many benchmark questions there are, in all and about one image; nothing where there is no benchmark."""
    path = layout.annotations / "test_questions.json"
    if not path.is_file():
        return {}
    asked = Counter(q["image_id"] for q in json.loads(path.read_text("utf-8"))["questions"])
    return {"asked": asked.total(), "asked_per_image": asked.total() / len(asked)} if asked else {}


def _assignments(options: Options) -> dict[str, float]:
    values: dict[str, float] = {}
    if options.size is not None:
        width, x, height = options.size.lower().partition("x")
        if not (x and width.isdecimal() and height.isdecimal()):
            raise EstimateError(f"--size {options.size}: expected WIDTHxHEIGHT in pixels, such as 1024x768")
        values = {"width": float(width), "height": float(height)}
    for text in options.assume:
        name, eq, value = text.partition("=")
        try:
            values[name.strip()] = float(value) if eq else float("nan")
        except ValueError as error:
            raise AssumptionError(f"--assume {text}: expected NAME=NUMBER, such as regions=40") from error
        if not eq:
            raise AssumptionError(f"--assume {text}: expected NAME=NUMBER, such as regions=40")
    return values


def _images(params: Params, options: Options, found: int) -> int:
    if options.images is not None:
        return options.images
    if found or (params.ingest.source == "nano" and is_nano(Path(params.model.base))):
        return found or params.ingest.train_images
    raise EstimateError("--images: got none; expected how many images are to be annotated, such as --images 1400000")


class _Last(NamedTuple):
    seconds: dict[str, float]
    note: str


def _last_round(wanted: _Model) -> _Last:
    """Seconds a unit of work of the last round in this checkout, by stage. Raises EstimateError without one."""
    if not LAST.is_file():
        raise EstimateError(f"--measured: no {LAST}; expected a finished round. Fix: run `ouro bootstrap` here first")
    params = load_params()
    work: dict[str, float] = json.loads(LAST.read_text())["work"]
    given, images = done(params, PIPELINE.root)
    made = estimate(given, images, rates("h100", 0.5, 0.5, False))
    note = f"measured: seconds of the last round, on {images} images with {params.model.base}, on this machine"
    if params.model.base != wanted.base:
        note += f"; CAUTION: another model than {wanted.base}, so FLOPs/s may differ by far"
    return _Last(unit_seconds(made, work), note)


def done(params: Params, root: Path) -> tuple[Inputs, int]:
    """The work that lies in a folder: its inputs, and how many training images."""
    given, _, found = _inputs(params, Options(like=root), _Model(params.model.base))
    return given, found


def _plain(made: Made, options: Options) -> dict[str, Any]:
    hours = made.estimate.seconds() / 3600
    values = {name: getattr(made.assumed.values, name) for name in made.assumed.sources}
    return {
        **made.estimate.to_json(),
        "rates": None if options.measured else {**made.rates._asdict(), "gpu": made.rates.gpu._asdict()},
        "gpus": options.gpus,
        "days": hours / options.gpus / 24,
        "cost": None if options.price is None else hours * options.price,
        "assumptions": {n: {"value": v, "source": made.assumed.sources[n]} for n, v in values.items()},
        "notes": made.notes,
    }


def show(made: Made, options: Options) -> None:
    """The table, the totals, the formulas and the assumptions."""
    from rich.markup import escape
    from rich.table import Table

    unit = "hours" if options.measured else "GPU-hours"
    table = Table(title=f"{made.estimate.images:,.0f} images", box=None, padding=(0, 0, 0, 2))
    table.add_column("stage", no_wrap=True)
    for name in ("calls", "tokens in", "tokens out", "FLOPs", unit, "core-hours"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in made.estimate.stages:
        table.add_row(*map(escape, _cells(stage)))
    table.add_row(*_cells(total(made.estimate)))
    screen.console().print(table, soft_wrap=False)
    for line in (*_summary(made, options), "formulas:", *_formulas(made.estimate.stages)):
        screen.say(line)
    screen.say("assumptions (--assume NAME=NUMBER, or --like DIR):")
    for name, source in made.assumed.sources.items():
        screen.say(f"  {name} {getattr(made.assumed.values, name):g}: {source}")


def total(made: Estimate) -> Stage:
    """The sum of all stages."""
    parts = {name: sum(getattr(s, name) or 0.0 for s in made.stages) for name in Stage._fields[1:7]}
    return Stage("total")._replace(**parts)


def _cells(s: Stage) -> list[str]:
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


def _summary(made: Made, options: Options) -> list[str]:
    hours = made.estimate.seconds() / 3600
    chosen = made.rates.gpu
    if options.measured:
        lines = [f"total: {hours:,.4g} hours on the machine of the last round"]
    else:
        days = _number(hours / options.gpus / 24)
        sheet = f"{chosen.peak / 1e12:,.0f} dense bf16 TFLOP/s, {chosen.bandwidth / 1e12:g} TB/s: {chosen.source}"
        lines = [
            f"total: {_number(hours)} GPU-hours: {days} days on {options.gpus} x {options.gpu} ({sheet}); "
            "rates assumed, not measured"
        ]
    if options.price is not None:
        lines.append(f"cost: {hours * options.price:,.0f} at {options.price:g} per GPU-hour; CPUs not priced")
    return [*lines, *made.notes, _packings(made.estimate)]


def _packings(made: Estimate) -> str:
    """What train.packing saves or wastes."""
    train, each = next(s for s in made.stages if s.stage == "train"), made.packings
    hours = (train.seconds or 0.0) / 3600 / train.flops if train.flops else 0.0
    parts = [
        f"{name} {_short(flops)}FLOPs, {_number(flops * hours)} h ({flops / each['shared']:.2f} x)"
        for name, flops in each.items()
    ]
    return f"training by train.packing, beside shared: {'; '.join(parts)}"


def _formulas(stages: Sequence[Stage]) -> list[str]:
    return [f"  {s.stage}: {s.formula}" for s in stages]
