"""Who is at the box: somebody with a keyboard, or nobody, whose answers stand in a file."""

from __future__ import annotations

import queue
import sys
import threading
import tomllib
from pathlib import Path
from typing import Protocol, TextIO

import msgspec
from rich.console import Console

from edge.errors import ConfigError, CornergridError, Problem


class Stopped(CornergridError):  # noqa: N818  # not an error: the installer chose to
    """The installer left; what was done is kept."""

    def __init__(self) -> None:
        super().__init__("stopped; the same command goes on from here")


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known before anybody is asked; empty where it is not.

    Attributes:
        by: who commissions.
        label: what the sticker says; `server` is the authority's HOST:PORT where the label names none.
        known_weight: a weight to check the scales with, like "1 kg".
        units: how many are put on the scale, by slot.
        confirmed: sensors whose kind the installer has compared with the device itself.
        skip: steps that are not done; `scale-1` skips all of that sensor's.
        catalogue: a CSV file of products (gtin, name); `skus` names a proposed slot's product by GTIN.
    """

    by: str = ""
    label: str = ""
    server: str = ""
    known_weight: str = ""
    units: dict[str, int] = {}
    confirmed: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    catalogue: str = ""
    skus: dict[str, str] = {}


def read_answers(path: Path) -> Answers:
    """The answers in a TOML file; ConfigError where it is none."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Answers)
    except OSError as error:
        raise ConfigError(str(path), (Problem("file", error.strerror or "cannot be read"),)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), (Problem("file", f"is not TOML: {error}"),)) from error
    except msgspec.ValidationError as error:
        known = ", ".join(each.name for each in msgspec.structs.fields(Answers))
        raise ConfigError(str(path), (Problem("answers", str(error), f"known: {known}"),)) from error


class Person(Protocol):
    """Whom the steps talk to."""

    def tell(self, text: str) -> None:
        """Say what is to be done by hand, or what came of it."""

    def live(self, text: str) -> None:
        """Say how it is now, in the place of what was said so before."""

    def ask(self, question: str, default: str = "") -> str:
        """An answer, or the default; Stopped where the installer leaves."""

    def pressed(self) -> str | None:
        """A line that was typed meanwhile, "" for Enter alone; None for nothing. Stopped as for `ask`."""

    @property
    def there(self) -> bool:
        """Whether anybody is asked at all."""


class Nobody:
    """An unattended run: what is to be done is said, whoever reads it, and no question is asked."""

    there = False

    def __init__(self, console: Console) -> None:
        self._console = console

    def tell(self, text: str) -> None:
        self._console.print(text, markup=False)

    def live(self, text: str) -> None:
        """Say nothing: a log of one line a second helps nobody."""

    def ask(self, question: str, default: str = "") -> str:  # noqa: ARG002  # nobody hears the question
        return default

    def pressed(self) -> str | None:
        return None


class Keyboard:
    """Somebody at a terminal, also at the far end of a slow line: plain lines, and Enter after each answer."""

    there = True

    def __init__(self, console: Console, source: TextIO = sys.stdin) -> None:
        self._console, self._source = console, source
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._live = False
        threading.Thread(target=self._read, name="keyboard", daemon=True).start()

    def tell(self, text: str) -> None:
        self._end_live()
        self._console.print(text, markup=False)

    def live(self, text: str) -> None:
        self._console.file.write(f"\r\x1b[K{text[:self._console.width - 1]}")
        self._console.file.flush()
        self._live = True

    def ask(self, question: str, default: str = "") -> str:
        self._end_live()
        self._console.print(f"{question}{f' [{default}]' if default else ''}: ", end="", markup=False)
        return self._said(self._lines.get()) or default

    def pressed(self) -> str | None:
        try:
            return self._said(self._lines.get_nowait())
        except queue.Empty:
            return None

    def _said(self, line: str | None) -> str:
        if line is None or line.strip().lower() == "q":
            raise Stopped
        return line.strip()

    def _end_live(self) -> None:
        if self._live:
            self._console.file.write("\r\x1b[K")
            self._live = False

    def _read(self) -> None:
        for line in self._source:
            self._lines.put(line)
        self._lines.put(None)
