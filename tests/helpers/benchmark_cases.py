"""What each fixture of tests/fixtures/benchmarks holds, written by hand: items, rejections and the first prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ouro.benchmarks.items import Item
from ouro.benchmarks.loaders.pairs import DEEPFORM_KEYS, KLC_KEYS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "benchmarks"
WORD = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
CUP_7, CUP_9 = "COCO_val2014_000000000007.jpg", "COCO_val2014_000000000009.jpg"


@dataclass(frozen=True)
class Case:
    """One benchmark in one form."""

    name: str
    files: tuple[str, ...]
    items: tuple[Item, ...]
    prompt: str
    rejected: tuple[tuple[str, str], ...] = ()  # the end of where it stands, reason

    @property
    def paths(self) -> list[Path]:
        return [FIXTURES / self.name / file for file in self.files]


def _many(main: str, other: str, count: int) -> tuple[str, ...]:
    return (main,) * count + (other,) * (10 - count)


def _keys(
    document: str, keys: tuple[str, ...], values: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]]
) -> tuple[Item, ...]:
    """One item a key; values and variants of the keys that the document speaks of."""
    return tuple(
        Item(
            f"{document}/{k}", f"{document}.png", k, *values.get(k, ((), ()))[:1], k, (), values.get(k, ((), ()))[1],
            key=k, document=document,
        )
        for k in keys
    )  # fmt: skip


_CUP = Item("7000", CUP_7, "Is the cup full?", _many("no", "yes", 6), "yes/no")
_KLEISTER = (
    _keys("7", KLC_KEYS, {"charity_name": (("The Larkspur Trust",), ((),)), "charity_number": (("1099123",), ((),))})
    + _keys("8", KLC_KEYS, {"address__post_town": (("YORK",), ((),)), "report_date": (("2016-03-31",), ((),))})
)  # fmt: skip
_WINNERS = Item("nu-0", "csv/200-csv/7.png", "who won in 1999?", ("Ada", "Grace"))
_COCO = (
    Item("7", f"val2014/{CUP_7}", "", ("A red cup.", "A cup on a table.")),
    Item("9", f"val2014/{CUP_9}", "", ("A blue sign with white letters.",)),
)
_CAPTION = "Provide a one-sentence caption for the provided image."

GENERAL = (
    Case(
        "vqav2", ("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"),
        (
            _CUP,
            Item("7001", CUP_7, "What color is the cup?", _many("red", "dark red", 7), "other"),
            Item("8000", "sign.png", "How many signs are there?", _many("1", "2", 9), "number"),
        ),
        "Is the cup full?" + WORD,
    ),
    Case(
        "okvqa", ("mscoco_val2014_annotations.json", "OpenEnded_mscoco_val2014_questions.json"),
        (
            Item("75", CUP_7, "Which drink is usually served in this?", _many("coffee", "tea", 8), "five"),
            Item(
                "125", "COCO_val2014_000000000012.jpg", "In which country was this sport invented?",
                _many("england", "india", 6), "two",
            ),
        ),
        "Which drink is usually served in this?" + WORD,
    ),
    Case(
        "vizwiz", ("val.json",),
        (
            Item("cup.png", "cup.png", "What is this?", _many("mug", "cup", 7), "other"),
            Item(
                "sign.png", "sign.png", "What does it say at the bottom?", _many("unanswerable", "nothing", 8),
                "unanswerable",
            ),
        ),
        "What is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'." + WORD,
    ),
    Case(
        "gqa", ("testdev_balanced_questions.json",),
        (
            Item("20100", "n7.jpg", "Is the cup red?", ("yes",), "verify"),
            Item("20101", "n7.jpg", "What is the cup standing on?", ("table",), "query"),
        ),
        "Is the cup red?" + WORD,
    ),
    Case(
        "vsr", ("test.jsonl",),
        (
            Item("0", "cup.png", "The cup is on the table.", ("yes",), "on"),
            Item("1", "cup.png", "The table is on the cup.", ("no",), "on"),
            Item("2", "sign.png", "The sign is left of the door.", ("no",), "left of"),
        ),
        "Based on the image, is this statement true or false? The cup is on the table. Answer:",
    ),
    Case(
        "scienceqa", ("problems.json", "pid_splits.json"),
        (
            Item(
                "7", "test/7/image.png", "Which of these is a solid?", ("B",), "natural science",
                ("steam", "the cup", "the coffee"), context="The picture shows a cup of hot coffee.",
            ),
            Item("8", "test/8/image.png", "What is sold here?", ("A",), "social science", ("coffee", "shoes")),
        ),
        "Context: The picture shows a cup of hot coffee.\nWhich of these is a solid?\nA. steam\nB. the cup\n"
        "C. the coffee" + LETTER,
        (("'6'", "no_image"),),
    ),
    Case(
        "iconqa", ("pid_splits.json", "problems.json"),
        (
            Item("11", "test/fill_in_blank/11/image.png", "How many bars are there?", ("4",), "fill_in_blank"),
            Item(
                "12", "test/choose_txt/12/image.png", "Which bar is the tallest?", ("B",), "choose_txt",
                ("the first", "the third", "the last"),
            ),
        ),
        "How many bars are there?\nPlease answer the question using a single word or phrase.",
        (("'13'", "image_choices"),),
    ),
)  # fmt: skip

DOCUMENTS = (
    Case(
        "docvqa", ("val_v1.0_withQT.json",),
        (
            Item("7", "page.png", "What is the total?", ("12.50", "$12.50"), "table/list+form"),
            Item("8", "page.png", "What kind of document is this?", ("Invoice",), "layout"),
        ),
        "What is the total?" + WORD,
    ),
    Case(
        "infovqa", ("infographicsVQA_val_v1.0_withQT.json",),
        (
            Item("70", "chart.png", "How many bars are shown?", ("4", "four"), "non-extractive"),
            Item("71", "chart.png", "Which bar is lowest?", ("the first",), "single span"),
        ),
        "How many bars are shown?" + WORD,
    ),
    Case(
        "chartqa", ("test_human.json", "test_augmented.json"),
        (
            Item("human-0", "chart.png", "Which bar is the tallest?", ("3",), "human"),
            Item("human-1", "chart.png", "Is the last bar taller than the first?", ("Yes",), "human"),
            Item("augmented-0", "chart.png", "What is the value of the second bar?", ("35.5",), "augmented"),
        ),
        "Which bar is the tallest?\nAnswer the question with a single word.",
    ),
    Case(
        "deepform", ("document.jsonl",),
        _keys(
            "doc7", DEEPFORM_KEYS,
            {
                "gross_amount": (("1500.00",), (("1500.00", "1,500.00", "1500"),)),
                "advertiser": (("MAPLE PARTY",), (("MAPLE PARTY",),)),
            },
        )
        + _keys("doc8", DEEPFORM_KEYS, {"contract_num": (("77", "78"), (("77",), ("78",)))}),
        "What is the value for the advertiser?",
        (("doc9", "other_split"),),
    ),
    Case("klc", ("in.tsv.xz", "expected.tsv"), _KLEISTER, "What is the value for the address__post_town?"),
    Case(
        "klc", ("unpacked/expected.tsv", "unpacked/in.tsv"), _KLEISTER, "What is the value for the address__post_town?"
    ),
    Case(
        "klc", ("due/document.jsonl",),
        _keys(
            "7", KLC_KEYS,
            {
                "charity_name": (("The Larkspur Trust",), (("The Larkspur Trust", "The Larkspur Trust Ltd"),)),
                "charity_number": (("1099123",), (("1099123",),)),
            },
        ),
        "What is the value for the address__post_town?",
    ),
    Case(
        "wtq", ("pristine-unseen-tables.tsv",),
        (
            _WINNERS,
            Item("nu-1", "csv/200-csv/8.png", 'how many "seats" are there?', ("12,500",)),
            Item("nu-2", "csv/201-csv/9.png", "which code?", ("a|b\nc\\d",)),
        ),
        "who won in 1999?",
    ),
    Case(
        "wtq", ("pristine-unseen-tables.tagged",),
        (
            Item(
                "nu-0", "csv/200-csv/7.png", "who won in 1999?", ("Ada", "Grace"), variants=(("Ada",), ("Grace",))
            ),
            Item(
                "nu-1", "csv/200-csv/8.png", 'how many "seats" are there?', ("12,500",), variants=(("12500.0",),)
            ),
        ),
        "who won in 1999?",
    ),
    Case(
        "wtq", ("due/document.jsonl",),
        (
            Item("200-7/nu-0", "200-7.png", "who won in 1999?", ("Ada", "Grace")),
        ),
        "who won in 1999?",
        (("200-7/nu-3", "no_answer"),),
    ),
)  # fmt: skip

TEXT = (
    Case(
        "textvqa", ("TextVQA_0.5.1_val.json",),
        (
            Item("7", "00ab.jpg", "what does the sign say?", _many("cafe", "the cafe", 9)),
            Item("8", "00ab.jpg", "What is the first letter?", _many("c", "letter c", 6)),
        ),
        "what does the sign say?" + WORD,
    ),
    Case(
        "ai2d", ("questions", "ai2d_test_ids.csv"),
        (
            Item("7.png-0", "7.png", "What eats the hawk?", ("B",), choices=("a fox", "nothing", "grass", "a mouse")),
            Item("7.png-1", "7.png", "Which letter marks the nest?", ("D",), choices=("A", "B", "C", "D")),
            Item("8.png-0", "8.png", "Which stage comes first?", ("A",), choices=("egg", "larva", "pupa", "adult")),
        ),
        "What eats the hawk?\nA. a fox\nB. nothing\nC. grass\nD. a mouse" + LETTER,
    ),
    Case(
        "stvqa", ("train_task_3.json",),
        (
            Item(
                "7", "coco-text/sign.png", "How many lives does the sign promise?", ("nine lives", "nine"), "coco-text"
            ),
            Item("8", "VizWiz/sign.png", "What is written in white?", ("cafe",), "VizWiz"),
        ),
        "How many lives does the sign promise?" + WORD,
    ),
    Case(
        "estvqa", ("test.json",),
        (
            Item("7", "sign.png", "What is the cafe called?", ("golden cafe",), "english"),
            Item("8", "sign.png", "店名是什么?", ("金色咖啡",), "chinese"),
        ),
        "What is the cafe called?" + WORD,
    ),
    Case(
        "estvqa", ("by_picture/train.json",),
        (
            Item("sign.png-0", "sign.png", "What is the cafe called?", ("golden cafe",), "english"),
            Item("sign.png-1", "sign.png", "What number is on the door?", ("12",), "english"),
        ),
        "What is the cafe called?" + WORD,
    ),
)  # fmt: skip

CAPTIONS = (
    Case("coco-caption", ("dataset_coco.json",), _COCO, _CAPTION),
    Case(
        "coco-caption", ("validation/captions_val2014.json",),
        (Item("7", CUP_7, "", _COCO[0].references), Item("9", CUP_9, "", _COCO[1].references)),
        _CAPTION,
        (("10", "no_caption"),),
    ),
    Case(
        "flickr30k", ("dataset_flickr30k.json",),
        (Item("0", "cup.png", "", ("A cup stands on a brown table.", "Somebody left a red cup.")),),
        _CAPTION,
    ),
    Case(
        "textcaps", ("TextCaps_0.1_val.json",),
        (
            Item("00ab", "00ab.jpg", "", ("A blue sign says CAFE.", "The word CAFE on a sign.")),
            Item("00cd", "00cd.jpg", "", ("An invoice over 12.50.", "A page that is headed Invoice.")),
        ),
        _CAPTION,
    ),
)  # fmt: skip

BEYOND = (
    Case(
        "pope", ("coco_pope_random.json", "coco_pope_popular.json", "coco_pope_adversarial.json"),
        (
            Item("random-1", "cup.png", "Is there a cup in the image?", ("yes",), "random"),
            Item("random-2", "cup.png", "Is there a dog in the image?", ("no",), "random"),
            Item("popular-1", "cup.png", "Is there a person in the image?", ("no",), "popular"),
            Item("adversarial-1", "cup.png", "Is there a table in the image?", ("yes",), "adversarial"),
        ),
        "Is there a cup in the image?" + WORD,
    ),
    Case(
        "refcoco", ("refcoco_testA.jsonl",),
        (
            Item("testA-7_1-0", "cup.png", "left cup", (), "testA", box=(30, 25, 55, 50), size=(96, 72)),
            Item("testA-7_1-1", "cup.png", "red cup", (), "testA", box=(30, 25, 55, 50), size=(96, 72)),
            Item("testA-8_1-0", "sign.png", "blue sign", (), "testA", box=(10, 10, 86.5, 50), size=(96, 72)),
        ),
        "Please provide the bounding box coordinate of the region this sentence describes: <ref>left cup</ref>",
    ),
    Case(
        "refcoco", ("sentences/refcoco_val.jsonl",),
        (
            Item("val-0", "cup.png", "red cup", (), "val", box=(30, 25, 55, 50), size=(96, 72)),
            Item("val-1", "cup.png", "brown table", (), "val", box=(0, 50, 96, 72), size=(96, 72)),
        ),
        "Please provide the bounding box coordinate of the region this sentence describes: <ref>red cup</ref>",
    ),
    Case(
        "contextual", ("contextual_val.csv",),
        (
            Item(
                "https://pictures.example/a/sign.png?raw=1", "a/sign.png",
                "What can be ordered here, and\nin which colour is it written?",
                ('Coffee, "CAFE" is written in white.',), "shopping",
            ),
            Item("https://pictures.example/a/page.png", "a/page.png", "What must be paid?", ("12.50",)),
        ),
        "What can be ordered here, and\nin which colour is it written?",
    ),
    Case(
        "reporting-bias", ("probes.jsonl",),
        (
            Item(
                "s1", "cup.png", "", ("B",), "spatial",
                ("a cup under a table", "a cup on a table", "a cup left of a table", "a cup right of a table"),
            ),
            Item(
                "n1", "cup.png", "", ("C",), "negation",
                ("a cup that is not red", "a cup that is not round", "a cup that is not flying",
                 "a cup that is not standing"),
            ),
            Item("c1", "chart.png", "", ("C",), "counting", tuple(f"{n} bars" for n in range(2, 11))),
            Item("t1", "cup.png", "", ("A",), "temporal", ("a cup before it is filled", "a cup after it was emptied")),
        ),
        "Pick the best caption for this from the below options. Answer in one word, the option letter only.\n"
        "(A) a cup under a table\n(B) a cup on a table\n(C) a cup left of a table\n(D) a cup right of a table",
    ),
)  # fmt: skip

COLLECTION = (
    Case(
        "held-out", ("test_questions.json", "test_annotations.json"),
        (
            Item("0", "00ab", "what color is the cup?", ("red",) * 10, "color"),
            Item("1", "00cd", "what color is the cup?", ("blue",) * 10, "color"),
            Item("2", "00cd", "how many cups are there?", ("2",) * 10, "count"),
        ),
        "what color is the cup?",
    ),
)  # fmt: skip

CASES = GENERAL + DOCUMENTS + TEXT + CAPTIONS + BEYOND + COLLECTION
