"""The bar of one thing that a command does is never that of another."""

import io
import sys

import pytest

from service.cli.progress import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_done_once_more_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    with bar() as show:
        for done in (0, 4, 7, 10):
            show("comparing", done, 10)
        show("comparing", 0, 10)

    lines = terminal.getvalue().split("\r")
    ended = [line for line in lines if "10/10" in line][-1]
    anew = [line for line in lines if " 0/10" in line][-1]
    assert ("/s" in ended, "0:00:00" in ended) == (True, True)
    assert ("/s" in anew, "-:--:--" in anew) == (False, True)
