"""What a command says and where: people on one stream, programs on the other, nothing in between."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ofmu.cli.progress import Listening, Live, Plain, Quiet
from ofmu.report.words import clean


def rank() -> int:
    """Which of the processes started by torchrun this is; 0 speaks, the others are silent."""
    return int(os.environ.get("RANK", "0"))


class Voice:
    """Where a command's words go; a context in which nothing else reaches standard output.

    Args:
        json: one object on standard output, words on standard error.
        quiet: nothing but the path of the result.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False):
        self._json, self._quiet = json, quiet
        self._silent = quiet or rank() != 0
        self._context = ExitStack()

    def __enter__(self) -> Self:
        from ofmu.report.terminal import console

        self._results = sys.stdout
        self.words: IO[str] = io.StringIO() if self._silent else sys.stderr if self._json else sys.stdout
        self._console = console(self.words)
        if self._json or self._silent:
            self._context.enter_context(redirect_stdout(sys.stderr))  # a library's print is not our result
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def say(self, line: str = "", style: str = "") -> None:
        """Print a line for people."""
        from rich.text import Text

        self._console.print(Text(clean(line), style=style), soft_wrap=not self._console.is_terminal)

    def show(self, drawing: Any) -> None:
        """Print something that rich can draw."""
        self._console.print(drawing)

    def listener(self) -> Listening:
        """What tells people how a run goes."""
        if self._silent:
            return Quiet()
        return Live(self._console) if self._console.is_terminal else Plain(self.say)

    def problems(self, lines: list[str]) -> None:
        """What is wrong: always said, beside the result."""
        for line in lines:
            print(clean(line), file=sys.stderr)

    def result(self, facts: dict[str, Any], *paths: Path | None) -> None:
        """The result, said once and last: the object for programs; the paths, where nothing else was said."""
        if rank() != 0:
            return
        if self._json:
            print(json.dumps(facts, ensure_ascii=False, allow_nan=False), file=self._results, flush=True)
        elif self._quiet:
            for path in paths:
                if path is not None:
                    print(path, file=self._results, flush=True)
