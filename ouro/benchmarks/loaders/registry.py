"""All benchmarks: their names, loaders, prompts and metrics.

The 20 of OURO's tables 1 to 4 in their order, and beyond them POPE, RefCOCO, ConTextual, the probes of reporting bias,
and the collection's own held-out questions, which are asked as params.yaml says (tasks/asking.py). Prompts are those
that evaluation harnesses use, kept as they stand: of LLaVA and lmms-eval for most; VSR's is InstructBLIP's, RefCOCO's
InternVL's, WTQ's none at all as in DocOwl, the probes' that of the slides. Where we differ: lmms-eval capitalises the
questions of TextVQA and VizWiz (and so lowers their other letters), we leave them; the count of the probes is asked as
a choice among captions. No OCR tokens are added to TextVQA's questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ouro.benchmarks.items import HELD_OUT, BenchmarkFileError, Item
from ouro.benchmarks.loaders import beyond, captions, choices, documents, general, pairs, tables, text
from ouro.benchmarks.loaders.fields import LETTERS
from ouro.benchmarks.loaders.hf import Columns
from ouro.benchmarks.loaders.prompts import (
    BEST,
    CAPTION,
    ICON_BLANK,
    ICON_LETTER,
    KEY,
    LETTER,
    REGION,
    SHORT,
    TRUTH,
    UNSURE,
)
from ouro.core.control_tokens import break_control_tokens
from ouro.vision.box_conventions import NAMED

if TYPE_CHECKING:
    from ouro.core.records import Rejected

    Load = Callable[[Sequence[Path]], Iterator[Item | Rejected]]

GENERAL, DOCUMENT, TEXT, CAPTIONS = "General VQA", "Doc-oriented VQA", "Scene Text-centric VQA", "Image Captions"
BEYOND, COLLECTION = "Beyond the paper", "The collection's own"
TABLES = {GENERAL: 1, DOCUMENT: 2, TEXT: 3, CAPTIONS: 4, BEYOND: 0, COLLECTION: 0}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    title:     as its authors write it
    table:     of OURO; 0 for none
    split:     what is scored
    files:     sets of file names, any one of which is enough
    where:     where they are to be had, in words
    columns:   of its usual Hugging Face form; None where there is none
    template:  of the prompt; `blank` that of an item without choices, where it differs
    option:    how a choice is written
    picture_parts: how many last parts of its path name a picture: 2 where many are called image.png
    metric:    by its name in ouro.benchmarks.scoring; `protocols`: the ways to count it, the first is ours
    """

    name: str
    title: str
    family: str
    split: str
    load: Load
    files: tuple[tuple[str, ...], ...]
    where: str
    columns: Columns | None
    template: str
    metric: str
    protocols: tuple[str, ...]
    max_new_tokens: int = 16
    blank: str = ""
    option: str = "{letter}. {choice}"
    picture_parts: int = 1

    @property
    def table(self) -> int:
        return TABLES[self.family]


def prompt_of(benchmark: Benchmark, item: Item) -> str:
    """The prompt of an item. Control tokens in its texts are broken: they would be turns, or pictures, of a request."""
    template = benchmark.template if item.choices or not benchmark.blank else benchmark.blank
    letters = zip(LETTERS, item.choices, strict=False)
    options = "\n".join(benchmark.option.format(letter=letter, choice=choice) for letter, choice in letters)
    return template.format(
        question=break_control_tokens(item.question).text,
        key=break_control_tokens(item.key).text,
        context=break_control_tokens(f"Context: {item.context}\n").text if item.context else "",
        options=break_control_tokens(options).text,
    )


def benchmark(name: str) -> Benchmark:
    """A benchmark by its name. Raises BenchmarkFileError for an unknown one, with the closest name."""
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    import difflib

    near = difflib.get_close_matches(name.lower(), BENCHMARKS, n=1, cutoff=0.5)
    suggestion = f"; did you mean {near[0]!r}?" if near else ""
    raise BenchmarkFileError(f"unknown benchmark {name!r}{suggestion} (known: {', '.join(BENCHMARKS)})")


def columns_of(bench: Benchmark) -> Columns:
    """Its Hugging Face columns. Raises BenchmarkFileError where it has no such form."""
    if bench.columns is None:
        raise BenchmarkFileError(f"{bench.title} has no usual Hugging Face form: use its files, {_needs(bench)}")
    return bench.columns


def locate(bench: Benchmark, folder: Path) -> tuple[Path, ...]:
    """The files of a benchmark in or below a folder.

    Raises BenchmarkFileError that says which are missing and where to get them, or which stand there twice.
    """
    if not folder.is_dir():
        raise BenchmarkFileError(f"{folder}: no such folder; {bench.title} needs {_needs(bench)}")
    missing: list[list[str]] = []
    for names in bench.files:
        paths = {name: path for name in names if (path := _find(folder, name))}
        if len(paths) == len(names):
            return tuple(paths.values())
        missing.append([name for name in names if name not in paths])
    closest = min(missing, key=len)
    raise BenchmarkFileError(f"{folder}: {' and '.join(closest)} not found; {bench.title} needs {_needs(bench)}")


def _needs(bench: Benchmark) -> str:
    return f"{', or '.join(' and '.join(names) for names in bench.files)} ({bench.where})"


def _find(folder: Path, name: str) -> Path | None:
    if (folder / name).exists():
        return folder / name
    below = sorted(folder.rglob(name))
    if len(below) > 1:
        examples = ", ".join(str(path) for path in below[:4])
        raise BenchmarkFileError(
            f"{folder}: {name} stands there {len(below)} times ({examples}); name the folder of one"
        )
    return below[0] if below else None


_ANLS = ("rrc",)
_CIDER = ("ptb", "plain")
_ALL = (
    Benchmark(
        "okvqa", "OKVQA", GENERAL, "val", general.okvqa,
        (("OpenEnded_mscoco_val2014_questions.json", "mscoco_val2014_annotations.json"),),
        "the download page of okvqa.allenai.org, version 1.1; pictures: COCO val2014",
        Columns(answer="ten", kind="question_type"), SHORT, "vqa", ("evalai", "vqaeval"),
    ),
    Benchmark(
        "vqav2", "VQAv2", GENERAL, "val", general.vqav2,
        (("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"),),
        "the download page of visualqa.org; pictures: COCO val2014",
        Columns(answer="ten", kind="answer_type"), SHORT, "vqa", ("evalai", "vqav2", "vqaeval"),
    ),
    Benchmark(
        "vizwiz", "VizWiz", GENERAL, "val", general.vizwiz, (("val.json",),),
        "the VQA task of vizwiz.org, Annotations and Images",
        Columns(answer="ten", kind="answer_type"), UNSURE, "vqa", ("evalai",),
    ),
    Benchmark(
        "gqa", "GQA", GENERAL, "testdev_balanced", general.gqa, (("testdev_balanced_questions.json",),),
        "the download page of Stanford's GQA, questions 1.2 and images",
        Columns(item_id="id", answers="answer", kind="types", picture_id="imageId"), SHORT, "gqa", ("llava",),
    ),
    Benchmark(
        "vsr", "VSR", GENERAL, "test (zero-shot)", general.vsr, (("test.jsonl",),),
        "the GitHub repository visual-spatial-reasoning, data/splits/zeroshot; pictures: COCO 2017",
        Columns(item_id="", question="caption", answers="label", answer="label", kind="relation"),
        TRUTH, "vsr", ("yes-no",),
    ),
    Benchmark(
        "scienceqa", "ScienceQA", GENERAL, "test (IMG)", choices.scienceqa, (("problems.json", "pid_splits.json"),),
        "the GitHub repository ScienceQA, data/scienceqa, and its pictures test.zip",
        Columns(
            item_id="", answers="answer", answer="letter", choices="choices", context="hint", kind="subject",
        ),
        LETTER, "choice-strict", ("strict", "lenient"), picture_parts=2,
    ),
    Benchmark(
        "iconqa", "IconQA", GENERAL, "test", choices.iconqa, (("problems.json", "pid_splits.json"),),
        "the download iconqa_data of iconqa.github.io",
        Columns(image="query_image", answers="", answer="iconqa", choices="choices", kind="ques_type"),
        ICON_LETTER, "iconqa", ("iconqa",), blank=ICON_BLANK, picture_parts=2,
    ),
    Benchmark(
        "docvqa", "DocVQA", DOCUMENT, "val", documents.docvqa, (("val_v1.0_withQT.json",),),
        "the Robust Reading Competition (rrc.cvc.uab.es), Document Visual Question Answering, task 1; registration",
        Columns(item_id="questionId", kind="question_types"), SHORT, "anls", _ANLS, 32,
    ),
    Benchmark(
        "chartqa", "ChartQA", DOCUMENT, "test", documents.chartqa, (("test_human.json", "test_augmented.json"),),
        "the GitHub repository vis-nlp/ChartQA, ChartQA Dataset/test; pictures in its folder png",
        Columns(item_id="", answers="answer", answer="number", kind="type", kind_end="_test"),
        "{question}\nAnswer the question with a single word.", "relaxed", ("pix2struct",),
    ),
    Benchmark(
        "infovqa", "InfoVQA", DOCUMENT, "val", documents.infovqa, (("infographicsVQA_val_v1.0_withQT.json",),),
        "the Robust Reading Competition (rrc.cvc.uab.es), Document Visual Question Answering, task 3; registration",
        Columns(item_id="questionId", kind="answer_type"), SHORT, "anls", _ANLS, 32,
    ),
    Benchmark(
        "deepform", "DeepForm", DOCUMENT, "test", pairs.deepform, (("document.jsonl",),),
        "the DUE benchmark (duebenchmark.com), DeepForm, test/document.jsonl and its documents",
        None, KEY, "key-values", ("due",), 64,
    ),
    Benchmark(
        "klc", "KLC", DOCUMENT, "test (DUE), dev-0 (Kleister)", pairs.klc,
        (("in.tsv.xz", "expected.tsv"), ("in.tsv", "expected.tsv"), ("document.jsonl",)),
        "the GitHub repository applicaai/kleister-charity, dev-0 (the values of test-A are hidden), or KleisterCharity "
        "of the DUE benchmark (duebenchmark.com)",
        None, KEY, "key-values", ("due",), 64,
    ),
    Benchmark(
        "wtq", "WTQ", DOCUMENT, "test", tables.wtq,
        (("pristine-unseen-tables.tagged",), ("pristine-unseen-tables.tsv",), ("document.jsonl",)),
        "WikiTableQuestions 1.0.2, data or tagged/data, or WikiTableQuestions of the DUE benchmark (duebenchmark.com)",
        None, "{question}", "denotation", ("official",), 64, picture_parts=2,
    ),
    Benchmark(
        "textvqa", "TextVQA", TEXT, "val", text.textvqa, (("TextVQA_0.5.1_val.json",),),
        "the download page of textvqa.org, version 0.5.1; pictures: its train_images",
        Columns(answer="ten"), SHORT, "vqa", ("evalai",),
    ),
    Benchmark(
        "ai2d", "AI2D", TEXT, "test", text.ai2d, (("questions", "ai2d_test_ids.csv"),),
        "the diagram datasets of Allen AI's PRIOR team, ai2d-all.zip and the list of test ids",
        Columns(item_id="", answers="answer", answer="letter", choices="options"),
        LETTER, "choice-letter", ("letter", "lenient"),
    ),
    Benchmark(
        "stvqa", "ST-VQA", TEXT, "train (task 3; the test answers are hidden)", text.stvqa,
        (("train_task_3.json",), ("test_task_3.json",)),
        "the Robust Reading Competition (rrc.cvc.uab.es), Scene Text Visual Question Answering, task 3; registration",
        Columns(), SHORT, "contains", ("contains", "anls"), 32,
    ),
    Benchmark(
        "estvqa", "EST-VQA", TEXT, "test", text.estvqa, (("test.json",), ("train.json",)),
        "the GitHub repository xinke-wang/EST-VQA, Annotations and Images",
        Columns(answers="answer", kind="language"), SHORT, "contains", ("contains", "anls"), 32,
    ),
    Benchmark(
        "coco-caption", "COCO Caption", CAPTIONS, "Karpathy test", captions.coco,
        (("dataset_coco.json",), ("captions_val2014.json",)),
        "Karpathy's caption_datasets.zip, or annotations_trainval2014.zip of cocodataset.org; pictures: COCO val2014",
        Columns(item_id="id", question="", answers="answer"), CAPTION, "cider", _CIDER, 64,
    ),
    Benchmark(
        "flickr30k", "Flickr30K", CAPTIONS, "Karpathy test", captions.flickr30k, (("dataset_flickr30k.json",),),
        "Karpathy's caption_datasets.zip; pictures: flickr30k-images of the University of Illinois, on request",
        Columns(item_id="img_id", question="", answers="caption"), CAPTION, "cider", _CIDER, 64,
    ),
    Benchmark(
        "textcaps", "TextCaps", CAPTIONS, "val", captions.textcaps, (("TextCaps_0.1_val.json",),),
        "the dataset page of TextCaps at textvqa.org, version 0.1; pictures: TextVQA's train_images",
        Columns(item_id="image_id", question="", answers="caption_str"), CAPTION, "cider", _CIDER, 64,
    ),
    Benchmark(
        "pope", "POPE", BEYOND, "random, popular, adversarial", beyond.pope,
        (("coco_pope_random.json", "coco_pope_popular.json", "coco_pope_adversarial.json"),),
        "the GitHub repository of POPE, output/coco; pictures: COCO val2014",
        Columns(answers="answer", answer="yes-no", kind="category", kind_in_id=True), SHORT, "pope", ("official",),
    ),
    Benchmark(
        "refcoco", "RefCOCO", BEYOND, "val, testA, testB", beyond.refcoco,
        (("refcoco_testA.jsonl", "refcoco_testB.jsonl", "refcoco_val.jsonl"), ("refcoco_val.jsonl",)),
        "JSON lines that other repositories made of refs(unc).p, or a Hugging Face data set; pictures: COCO train2014",
        Columns(answers="answer", answer="box", box="bbox", kind="split"), REGION, "refcoco", ("iou-0.5", *NAMED), 64,
    ),
    Benchmark(
        "contextual", "ConTextual", BEYOND, "val", beyond.contextual, (("contextual_val.csv",),),
        "the GitHub repository rohan598/ConTextual, data; pictures: the addresses in its column image_url",
        Columns(item_id="image_url", question="instruction", answers="response", kind="category"),
        "{question}", "contextual", ("judge",), 512,
    ),
    Benchmark(
        "reporting-bias", "Reporting bias", BEYOND, "test", beyond.reporting_bias,
        (("spatial.jsonl", "negation.jsonl", "counting.jsonl", "temporal.jsonl"), ("probes.jsonl",)),
        "your own records in the form that ouro/benchmarks/loaders/beyond.py describes",
        None, BEST, "choice-letter", ("letter", "lenient"), option="({letter}) {choice}",
    ),
    Benchmark(
        HELD_OUT, "Held-out questions", COLLECTION, "test", general.own_questions,
        (("test_questions.json", "test_annotations.json"),),
        "ingest writes them into data/annotations where the collection has questions",
        None, "{question}", "vqa-types", ("evalai",),
    ),
)  # fmt: skip
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({bench.name: bench for bench in _ALL})
