"""Tokens of captions as coco-caption cuts them: Stanford's PTBTokenizer, which pycocoevalcap brings as a Java archive.

Source: `tokenizer/ptbtokenizer.py` of pycocoevalcap 1.2, whose options and list of dropped punctuation are used. Its
class is not called: it writes into the folder of the package, leaves the file behind when Java is missing, ignores
that Java failed, pairs lines with captions even if their numbers differ, and prints. Kept, since published numbers
contain them: brackets become `-lrb-` and stay, since only their capital form is dropped; `!!!` and `?!` stay;
`can't` is `ca n't`, `gonna` is `gon na`; pound and euro signs are `#` and `$`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAIN = "edu.stanford.nlp.process.PTBTokenizer"


class MissingTokenizerError(OuroError, RuntimeError):
    """Java or pycocoevalcap is not installed."""


def ptb_tokens(texts: Sequence[str]) -> list[list[str]]:
    """The tokens of each text; a text is one line. Raises MissingTokenizerError, or RuntimeError if Java fails."""
    java, archive, punctuation = _program()
    lines = _run(java, archive, texts)
    if len(lines) != len(texts):
        raise RuntimeError(
            f"PTB tokenizer: got {len(lines)} lines, expected {len(texts)}: is there a line end in a text?"
        )
    # A token may hold a no-break space (`1 1/2`): it is dropped whole, and split afterwards, as pycocoevalcap does.
    token_lines = ([token for token in line.split(" ") if token not in punctuation] for line in lines)
    return [" ".join(tokens).split() for tokens in token_lines]


def _program() -> tuple[str, Path, frozenset[str]]:
    """The path of java, that of the archive, and the tokens to drop."""
    java = shutil.which("java")
    try:
        from pycocoevalcap.tokenizer import ptbtokenizer as package
    except ImportError:
        package = None
    if java is None or package is None:
        missing = [] if java else ["Java (a `java` on the PATH, e.g. `apt-get install default-jre-headless`)"]
        missing += [] if package else ["pycocoevalcap (`uv sync --extra captions`)"]
        raise MissingTokenizerError(
            f"CIDEr with the PTB tokenizer needs {' and '.join(missing)}; install that, or choose the "
            "tokenizer `plain`, which needs neither and whose scores are not comparable with published ones"
        )
    archive = Path(str(package.__file__)).parent / str(package.STANFORD_CORENLP_3_4_1_JAR)
    return java, archive, frozenset(map(str, package.PUNCTUATIONS))


def _run(java: str, archive: Path, texts: Sequence[str]) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="ouro-ptb-") as folder:
        (Path(folder) / "captions.txt").write_bytes("".join(f"{text}\n" for text in texts).encode(errors="replace"))
        command = [java, "-cp", str(archive), MAIN, "-preserveLines", "-lowerCase", "captions.txt"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"PTB tokenizer: java ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode().split("\n")[:-1]
