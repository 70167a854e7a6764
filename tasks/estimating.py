"""What a round would cost: the params, the model's architecture and what is assumed, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ouro.core.errors import OuroError
from ouro.core.json_text import parse_json
from ouro.core.layout import PIPELINE, Layout, layout_of
from ouro.core.params import Params, load_params
from ouro.core.rates import Rates, rates
from ouro.core.tokens import TOKENIZER, load_token_counter
from ouro.costs.assumptions import AssumptionError, SourcedAssumptions, default_assumptions, replace_values
from ouro.costs.estimate import CostEstimate, EstimateInputs, describe_memory, estimate_costs, unit_seconds
from ouro.costs.workload import PictureGrids, estimate_grids
from ouro.nano.model import is_nano
from ouro.vision.architecture import Architecture, PixelBounds, read_architecture, read_model_config, read_pixel_bounds
from tasks.timing import LAST_ROUND

TOKENS_A_WORD = 1.3
PICTURED = ("width", "height", "area1", "area2", "area3")  # with --like measured picture by picture


class EstimateError(OuroError, ValueError):
    """Options from which no estimate can be computed."""


class Options(NamedTuple):
    """Options of `ouro estimate` beside the params. `gpus`: how many work in parallel; `price` of one GPU-hour."""

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


class Figures(NamedTuple):
    """An estimate with its assumptions, rates and notes."""

    estimate: CostEstimate
    assumed: SourcedAssumptions
    rates: Rates
    notes: list[str]


def estimate_round(params: Params, options: Options) -> Figures:
    """What a round would cost. Raises EstimateError, AssumptionError, RateError, ArchitectureError and what `like`
    raises."""
    gpu_rates = rates(options.gpu, options.mfu_train, options.mfu_prefill, params.model.backend == "openai")
    model = _Model(params.model.base)
    inputs, assumptions, measured_images = _inputs(params, options, model)
    images = _images(params, options, measured_images)
    last_round = _last_round(model) if options.measured else None
    notes = [f"model: {model.where}", model.counting]
    notes += [last_round.note] if last_round else [describe_memory(inputs, gpu_rates)]
    return Figures(
        estimate_costs(inputs, images, gpu_rates, last_round.seconds if last_round else None),
        assumptions,
        gpu_rates,
        notes,
    )


class _Model:
    """The architecture of model.base, its image resolution and its token counter."""

    def __init__(self, base: str) -> None:
        config, self.where = read_model_config(base)
        self.base = base
        self.arch: Architecture = read_architecture(config)
        self.sight: PixelBounds = read_pixel_bounds(base, self.arch.vision)
        self.tokens_of, self.counting = _tokens(Path(base) / TOKENIZER)


def _tokens(path: Path) -> tuple[Callable[[str], float], str]:
    count = load_token_counter(path)
    if count is None:
        note = f"tokens: {TOKENS_A_WORD:g} a word, assumed ({path} is not there to count them)"
        return (lambda text: TOKENS_A_WORD * len(text.split())), note
    return count, f"tokens: counted by {path}"


def _inputs(params: Params, options: Options, model: _Model) -> tuple[EstimateInputs, SourcedAssumptions, int]:
    """What decides the work, the assumptions with their sources, and how many images --like has."""
    assumptions = default_assumptions(params, is_nano(Path(model.base)))
    assignments = _assignments(options)
    measured_images, picture_stats = 0, None
    if options.like is not None:
        if clash := sorted(set(assignments) & set(PICTURED)):
            raise EstimateError(
                f"--like {options.like} measures {', '.join(clash)}; leave --size and --assume of it out"
            )
        measured_images, values, picture_stats = _like(options.like, params, model)
        assumptions = replace_values(assumptions, values, f"measured on {options.like}")
    assumptions = replace_values(assumptions, assignments, "given")
    picture_stats = picture_stats or estimate_grids(params, model.sight, assumptions.values)
    return (
        EstimateInputs(params, model.arch, model.sight, assumptions.values, picture_stats, model.tokens_of),
        assumptions,
        measured_images,
    )


def _like(root: Path, params: Params, model: _Model) -> tuple[int, dict[str, float], PictureGrids]:
    from ouro.costs.workload_like import profile_dataset

    layout = layout_of(root)
    dataset = profile_dataset(layout, params, model.sight, model.tokens_of)
    if not dataset.images:
        raise EstimateError(f"--like {root}: holds no training image; expected an annotated dataset with some")
    return dataset.images, {**dataset.values, **_questions(layout)}, dataset.seen


def _questions(layout: Layout) -> dict[str, float]:
    """How many benchmark questions there are, in all and about one image; nothing where there is no benchmark."""
    path = layout.annotations / "test_questions.json"
    if not path.is_file():
        return {}
    questions_by_image = Counter(q["image_id"] for q in parse_json(path.read_text("utf-8"))["questions"])
    return (
        {"asked": questions_by_image.total(), "asked_per_image": questions_by_image.total() / len(questions_by_image)}
        if questions_by_image
        else {}
    )


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


def _images(params: Params, options: Options, measured_images: int) -> int:
    if options.images is not None:
        return options.images
    if measured_images or (params.ingest.source == "nano" and is_nano(Path(params.model.base))):
        return measured_images or params.ingest.train_images
    raise EstimateError("--images: got none; expected how many images are to be annotated, such as --images 1400000")


class _Last(NamedTuple):
    seconds: dict[str, float]
    note: str


def _last_round(model: _Model) -> _Last:
    """Seconds a unit of work of the last round in this checkout, by stage. Raises EstimateError without one."""
    if not LAST_ROUND.is_file():
        raise EstimateError(
            f"--measured: no {LAST_ROUND}; expected a finished round. Fix: run `ouro bootstrap` here first"
        )
    params = load_params()
    work: dict[str, float] = parse_json(LAST_ROUND.read_text())["work"]
    inputs, images = done(params, PIPELINE.root)
    round_estimate = estimate_costs(inputs, images, rates("h100", 0.5, 0.5, False))
    note = f"measured: seconds of the last round, on {images} images with {params.model.base}, on this machine"
    if params.model.base != model.base:
        note += f"; CAUTION: another model than {model.base}, so FLOPs/s may differ by far"
    return _Last(unit_seconds(round_estimate, work), note)


def done(params: Params, root: Path) -> tuple[EstimateInputs, int]:
    """The inputs of an estimate, measured on an annotated folder, and its number of training images."""
    inputs, _, measured_images = _inputs(params, Options(like=root), _Model(params.model.base))
    return inputs, measured_images
