"""Text of strangers on a terminal: control characters are shown as escapes; a message has a bounded length."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.table import Table

from ouro.core.errors import OuroError
from ouro.core.printable import printable, shorten
from tasks import screen
from tasks.errors import explain

RAW = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.evil\x00\r"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.evil\x00\x0d"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_control_characters_become_escapes_and_text_stays() -> None:
    assert printable(RAW) == SHOWN
    assert printable("é 日本 ✓ a\tb\r\nc\n") == "é 日本 ✓ a\tb\nc\n"
    assert printable("\udce9") == r"\udce9"  # a name that is no UTF-8


def _table() -> Table:
    table = Table(title=RAW)
    table.add_column(RAW)
    table.add_row(RAW)
    return table


@pytest.mark.parametrize(
    "show",
    [
        lambda: screen.say(RAW),
        lambda: screen.complain(RAW),
        lambda: screen.print_table(_table()),
        lambda: explain(OuroError(RAW)),
        lambda: explain(KeyError(RAW)),
        lambda: explain(RuntimeError(RAW)),
    ],
)
def test_nothing_raw_reaches_the_screen(show: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(show)
    show()
    out, err = capsys.readouterr()
    assert not set(out + err) & set("\x1b\x07\x9b\u202e\x00\r")
    assert r"\x1b]0;owned\x07" in (out + err).replace("\\\\", "\\")


def test_a_csv_on_a_terminal_is_escaped_and_in_a_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.write_csv(pd.DataFrame({"id": ["\x1b[31m"]}), "-")
    assert capsys.readouterr().out == "id\n\x1b[31m\n"
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    screen.write_csv(pd.DataFrame({"id": ["\x1b[31m"]}), "-")
    assert terminal.getvalue() == "id\n\\x1b[31m\n"


def test_an_error_has_at_most_2000_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(OuroError("start " + "\x1b" * 500_000 + " Fix: end")) == 1
    message = capsys.readouterr().err.strip()
    assert len(message) <= 2000
    assert message.startswith("error: start ")
    assert message.endswith("Fix: end")
    assert shorten("a" * 2000) == "a" * 2000
