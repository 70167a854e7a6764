"""The commands of README.md and docs/*.md exist, and take the options and arguments that are written there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
OURS = ("cli", "flows", "tasks", "ouro", "perf")


class Command(NamedTuple):
    """One command as a page has it: its words after `uv run`; `whole`: it stands in a code block, to be copied."""

    page: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def commands_of(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of one line of a shell, without assignments before them, `uv run` and its options."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            yield tuple(_without_runner(words))
            words = []
        else:
            words.append(word)


def _without_runner(words: list[str]) -> list[str]:
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    if words[:2] == ["uv", "run"]:
        words = words[2:]
        while words and words[0].startswith("--"):
            words = words[1:] if "=" in words[0] else words[2:]
    return words


def documented(page: Path) -> Iterator[Command]:
    """Every `ouro`, `python` and `make` of a page: in its code blocks, and quoted in its sentences."""
    text = page.read_text()
    for block in FENCE.finditer(text):
        if block["kind"] in ("", "bash", "console", "sh"):
            for line in block["text"].replace("\\\n", " ").splitlines():
                if re.match(r"\s*([A-Z_]+=\S+ )*(\$ )?(pip|uv|ouro|python|make)\s", line):
                    yield from (Command(page.name, words, True) for words in commands_of(line.removeprefix("$ ")))
    for span in SPAN.findall(FENCE.sub("", text)):
        if re.match(r"(uv run |ouro |python |make )", span) and "…" not in span and "..." not in span:
            yield from (Command(page.name, words, False) for words in commands_of(" ".join(span.split())))


COMMANDS = sorted({command for page in PAGES for command in documented(page) if command.words})


def of_kind(name: str) -> list[Command]:
    return [command for command in COMMANDS if command.words[0] == name]


@pytest.fixture
def ouro(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, ...]], object]:
    """The real command line, found as the console script finds it; it parses its words, and runs nothing."""
    apps: list[typer.Typer] = []
    (script,) = entry_points(group="console_scripts", name="ouro")
    with monkeypatch.context() as patch:
        patch.setattr(typer.Typer, "__call__", lambda app, *args, **kwargs: apps.append(app))
        try:
            script.load()()
        except SystemExit as end:
            assert not end.code
    command: Any = typer.main.get_command(apps[0])
    (*_, base) = (cls for cls in type(command).__mro__ if "invoke" in vars(cls))  # that of groups calls it for each
    monkeypatch.setattr(base, "invoke", lambda self, context: None)
    return lambda words: command.main(args=list(words), prog_name="ouro", standalone_mode=False)


def test_pages_have_commands_of_each_kind() -> None:
    """What is found is what the pages say; an empty list would pass every test below."""
    assert len(of_kind("ouro")) > 40 and len(of_kind("python")) > 8
    assert any(command.whole for command in of_kind("ouro") if command.page == "README.md")


@pytest.mark.parametrize("command", of_kind("ouro"), ids=str)
def test_the_command_line_knows_each_command_and_its_options(
    command: Command, ouro: Callable[[tuple[str, ...]], object]
) -> None:
    """A sentence may name a command without what it needs; a code block is copied."""
    try:
        ouro(command.words[1:])
    except Exception as error:
        if command.whole or type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            pytest.fail(f"{command}: {type(error).__name__}: {error}")


def test_another_option_another_command_and_a_missing_word_are_seen(
    ouro: Callable[[tuple[str, ...]], object],
) -> None:
    for words in (("train", "out", "--no-such-option"), ("no-such-command",), ("annotate",)):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            ouro(words)


def options_of(source: str) -> set[str]:
    """The options that `add_argument` calls of a script name."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    added = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    names = [arg.value for call in added for arg in call.args if isinstance(arg, ast.Constant)]
    return {name for name in names if isinstance(name, str) and name.startswith("-")}


def file_of(command: Command) -> Path | None:
    """The file of ours that `python FILE` or `python -m MODULE` starts; None where it is of another project."""
    if command.words[1] != "-m":
        return ROOT / command.words[1]
    module = command.words[2]
    if module.split(".")[0] not in OURS:
        return None
    path = ROOT.joinpath(*module.split("."))
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("command", of_kind("python"), ids=str)
def test_each_script_and_module_is_there_and_knows_its_options(command: Command) -> None:
    path = file_of(command)
    if path is not None:
        assert path.is_file(), command
        options = {word.split("=")[0] for word in command.words[2:] if re.match(r"--?[a-z]", word)} - {"-m"}
        assert options <= options_of(path.read_text()), command


def test_options_are_those_that_a_script_adds() -> None:
    assert options_of("p.add_argument('-n', '--rounds', type=int)\np.add_argument('file')\nf('--no')") == {
        "-n",
        "--rounds",
    }


@pytest.mark.parametrize("command", of_kind("make"), ids=str)
def test_each_make_target_is_there(command: Command) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(command.words[1:]) <= set(targets)


def test_lines_of_a_shell_are_taken_apart() -> None:
    assert list(commands_of("pip install uv && uv run ouro rounds --csv  # a table")) == [
        ("pip", "install", "uv"),
        ("ouro", "rounds", "--csv"),
    ]
    assert list(commands_of("A=b uv run --with x ouro up --cron '0 2 * * *'")) == [
        ("ouro", "up", "--cron", "0 2 * * *")
    ]
