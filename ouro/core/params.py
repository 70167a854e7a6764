"""The typed mirror of params.yaml: unknown keys and bad values are refused, all at once.

`load_params(path, overrides)` reads the file, applies "stage.key=value" overrides, returns frozen `Params`.
The paper's value of each knob stands in profiles/paper.yaml (seeds: OURO section 4.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ouro.core.hardware import multiplies_bfloat16
from ouro.core.params_text import ParamsError, parse_override, put, read_yaml
from ouro.core.urls import plain_url

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


class _Stage(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, protected_namespaces=(), validate_default=True,
        validate_by_name=True, validate_by_alias=True, serialize_by_alias=True,
    )  # fmt: skip


def _dtype(value: Any) -> Any:
    """ "auto" becomes the dtype that this machine multiplies fast; dependents of params see the resolved value."""
    return ("bfloat16" if multiplies_bfloat16() else "float32") if value == "auto" else value


def _bf16(value: Any) -> Any:
    return multiplies_bfloat16() if value == "auto" else value


Dtype = Annotated[Literal["float32", "bfloat16"], BeforeValidator(_dtype)]
AUTO: Any = "auto"


class Model(_Stage):
    backend: Literal["hf", "openai"] = "hf"
    base: str = "models/nano"
    adapter: str = ""
    proposer: str = "models/nano/rpn"
    dtype: Dtype = AUTO
    processes: Annotated[int, Field(ge=1, le=64)] = 2
    prepare_processes: Annotated[int, Field(ge=0, le=64)] = 0
    url: Annotated[str, AfterValidator(plain_url)] = "http://127.0.0.1:8000/v1"
    name: str = ""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
    timeout: Annotated[float, Field(gt=0.0)] = 120.0
    retries: Annotated[int, Field(ge=0, le=20)] = 6


class Runner(_Stage):
    kind: Literal["local", "threads", "ray"] = "local"
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    address: str = ""


class Ingest(_Stage):
    source: str = "nano"
    train_images: Positive = 400
    test_images: Annotated[int, Field(ge=0)] = 200
    max_pixels: Positive = 50_000_000
    shard_images: Positive = 100
    limit: Annotated[int, Field(ge=0)] = 0
    near_duplicates: Literal["reject", "keep"] = "reject"
    links: Literal["within", "follow"] = "within"
    image_column: str = "image"
    caption_column: str = ""


class Propose(_Stage):
    proposers: tuple[Literal["rpn", "ocr", "grounding", "selective-search"], ...] = ("rpn", "ocr")
    tau: Share = 0.5
    nms_iou: Share = 0.5
    min_side: Positive = 14
    max_depth: Annotated[int, Field(ge=0, le=16)] = 3
    max_children: Positive = 12
    max_aspect: Annotated[float, Field(gt=1.0, le=200.0)] = 8.0
    max_parent_cover: Share = 0.8
    ocr_min_score: Share = 0.6
    ocr_when: Literal["likely", "always"] = "always"
    rpn_weights: str = "COCO_V1"
    grounding_model: str = ""
    grounding_texts: tuple[str, ...] = ()
    grounding_min_score: Share = 0.3


PromptName = Literal[
    "own", "by-kind", "simple", "long-v1", "long-v2", "long-v3", "spatial", "spatial-v2", "grounded", "ocr"
]  # ouro/annotate/prompts.py holds their texts
Weight = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Describe(_Stage):
    prompt: str = "describe the image."
    prompts: Annotated[dict[PromptName, Weight], Field(min_length=1)] = {"own": 1.0}
    context: Share = 0.06
    max_pixels: Positive = 16_384
    region_max_pixels: Positive = 9_216
    max_new_tokens: Positive = 48
    name: Literal["asked", "derived", "none"] = "derived"
    confidence: bool = True
    structured: bool = False
    batch_size: Positive = 64
    batch_tokens: Positive = 4096


class Merge(_Stage):
    writer: Literal["template", "outline", "vlm"] = "template"
    matcher: Literal["lexical", "asked"] = "lexical"
    settle: Literal["none", "rules", "look"] = "rules"
    settle_margin: Share = 0.2
    settle_max_pixels: Positive = 16_384
    max_struck: Share = 0.5
    batch_size: Positive = 64
    max_tokens: Positive = 320
    captions: Literal["beside", "concatenated"] = "beside"

    @property
    def asks(self) -> bool:
        """Whether the annotator is needed: to write, to match or to settle."""
        return self.writer == "vlm" or self.matcher == "asked" or self.settle == "look"


Aspect = Literal["object details", "spatial relationships", "style", "scene context", "interactions"]


class Synthesize(_Stage):
    aspects: Annotated[tuple[Aspect, ...], Field(min_length=1)] = (
        "object details", "spatial relationships", "style", "scene context", "interactions",
    )  # fmt: skip
    writer: Literal["vlm", "template"] = "template"
    template: Literal["nano", "instructed"] = "nano"
    max_pixels: Positive = 16_384
    max_new_tokens: Positive = 280
    batch_size: Positive = 50
    max_pairs: Positive = 120
    support: Literal["rules", "asked", "none"] = "rules"
    support_keep: Share = 0.7
    support_drop: Share = 0.3
    max_similarity: Share = 1.0
    max_yes_no: Share = 1.0
    round_trip: bool = False
    min_agreement: Share = 0.5

    @model_validator(mode="after")
    def _thresholds(self) -> Synthesize:
        if self.support_drop > self.support_keep:
            raise ValueError(f"support_drop {self.support_drop} is above support_keep {self.support_keep}")
        return self

    @property
    def asks(self) -> bool:
        """Whether the annotator is asked about pairs: about their support, or with the image alone."""
        return self.round_trip or self.support == "asked"


LoraOrFrozen = Literal["lora", "frozen"]


class Train(_Stage):
    from_: Annotated[Literal["base", "champion"], Field(alias="from")] = "base"
    supervision: Literal["ours", "orig", "both"] = "ours"
    k: Annotated[int, Field(ge=0, le=64)] = 5
    selection: Literal["random", "by-level", "informative"] = "random"
    region_dropout: Share = 0.75
    min_pixels: Annotated[int, Field(ge=0)] = 0
    max_pixels: Positive = 16_384
    region_max_pixels: Positive = 9_216
    questions: Annotated[int, Field(ge=0, le=64)] = 5
    packing: Literal["shared", "separate", "conversation"] = "shared"
    row_tokens: Positive = 4096
    max_tokens: Annotated[int, Field(ge=0)] = 0
    attention: Literal["auto", "sdpa", "flex", "segments"] = "auto"
    language: LoraOrFrozen = "lora"
    merger: LoraOrFrozen = "lora"
    vision: LoraOrFrozen = "lora"
    rank: Positive = 8
    alpha: Positive = 16
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.004
    warmup_ratio: Share = 0.1
    epochs: Positive = 24
    batch_size: Positive = 8
    accumulation: Positive = 1
    bf16: Annotated[bool, BeforeValidator(_bf16)] = AUTO
    quantization: Literal["none", "nf4"] = "none"
    gradient_checkpointing: bool = False
    deepspeed: str = ""
    weight_desc: Annotated[float, Field(ge=0.0)] = 1.0
    weight_qa: Annotated[float, Field(ge=0.0)] = 1.0
    save_steps: Positive = 100
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    processes: Annotated[int, Field(ge=1, le=64)] = 2


class Benchmark(_Stage):
    names: list[str] = []
    folder: str = "data/benchmarks"
    limit: Annotated[int, Field(ge=0)] = 0
    k: Annotated[int, Field(ge=0, le=64)] = 5
    max_pixels: Positive = 16_384
    region_max_pixels: Positive = 9_216
    batch_size: Positive = 64
    max_new_tokens: Positive = 6
    suffix: str = ""
    dtype: Dtype = AUTO
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000


class Gate(_Stage):
    benchmarks: Annotated[list[str], Field(min_length=1)] = ["held-out"]
    margin: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    tolerance: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.02
    tolerances: dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]] = {}


class Bootstrap(_Stage):
    commit: bool = False
    patience: Positive = 2


class Params(_Stage):
    round: Positive = 1
    seed: Annotated[int, Field(ge=0)] = 0
    model: Model = Model()
    runner: Runner = Runner()
    ingest: Ingest = Ingest()
    propose: Propose = Propose()
    describe: Describe = Describe()
    merge: Merge = Merge()
    synthesize: Synthesize = Synthesize()
    train: Train = Train()
    benchmark: Benchmark = Benchmark()
    gate: Gate = Gate()
    bootstrap: Bootstrap = Bootstrap()
    fetch: dict[str, str] = {}

    @property
    def training_seed(self) -> int:
        """The seed of what a round's training draws: `seed` in the first, another one in each later round."""
        return (self.seed + 10_007 * (self.round - 1)) % 2**32


def load_params(path: Path = Path("params.yaml"), overrides: tuple[str, ...] = ()) -> Params:
    """Read and check a params file. Raises ParamsError that lists every problem and its fix."""
    if not path.is_file():
        raise ParamsError(
            f"params file {path}: not found; expected a YAML file. Fix: run ouro from its checkout, or name a file"
        )
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ParamsError(f"params file {path}: got a {type(raw).__name__}, expected keys such as 'train:'")
    for text in overrides:
        put(raw, *parse_override(text))
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors():
        key = ".".join(str(p) for p in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key; {_nearest(key)}")
        elif problem["type"] == "value_error":  # a sentence of ours, which shows no secret
            lines.append(f"  {key}: {problem['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"  {key}: got {problem['input']!r}; {problem['msg'].lower()}")
    head = f"params file {path}: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return "\n".join([head, *lines, "fix the file, or the --set that changed it"])


def _nearest(key: str) -> str:
    import difflib

    *parents, last = key.split(".")
    model: type[BaseModel] = Params
    for name in parents:
        field = model.model_fields.get(name)
        if field is None or not isinstance(field.annotation, type):
            break
        model = field.annotation
    keys = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(last, keys, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(keys)}"
