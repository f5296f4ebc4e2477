"""Who is at the box: somebody with a keyboard, or nobody, whose answers stand in a file."""

from __future__ import annotations

import contextlib
import io
import queue
import sys
import termios
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

import msgspec
from rich.console import Console

from edge.clock import SystemClock
from edge.errors import ConfigError, CornergridError, Problem

SLOW_S = 2.0
"""Between two lines that say how it is now, where each is a new one."""


class Stopped(CornergridError):  # noqa: N818  # not an error: the installer chose to
    """The installer left; what was done is kept."""

    def __init__(self) -> None:
        super().__init__("stopped; the same command goes on from here")


class Thing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What only a person knows of something that answers behind a port; empty where it is not known.

    `make` chooses among look-alikes, by the name of its driver or device profile; `unit` is what a scale's display
    shows; `doors` are the contacts of an input module, as in a profile.
    """

    name: str = ""
    make: str = ""
    unit: str = ""
    doors: dict[str, str] = {}

    @staticmethod
    def key_of(port: str, address: int | None) -> str:
        """How answers name it: `usb-FTDI_1` behind /dev/serial/by-id/usb-FTDI_1, or `usb-FTDI_1 address 2`."""
        return port.rpartition("/")[2] + (f" address {address}" if address else "")


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known before anybody is asked; empty where it is not.

    Attributes:
        by: who commissions.
        label: what the sticker says; `server` is the authority's HOST:PORT where the label names none.
        device, broker, data: of a profile that is not there yet: its id (the label's, where there is one), the
            broker's HOST:PORT, the data folder.
        ports: to look behind, besides the profile's, in place of all that the box has.
        found: what is known of what answers behind a port, by `Thing.key_of`.
        cameras, slots: such as a profile has, which it gets where it has none of that name.
        camera: one camera's address, where there is no other yet.
        known_weight: a weight to check the scales with, like "1 kg".
        units: how many are put on the scale, by slot.
        confirmed: sensors whose kind the installer has compared with the device itself.
        skip: steps that are not done; `scale-1` skips all of that sensor's.
        catalogue: a CSV file of products (gtin, name); `skus` names a proposed slot's product by GTIN.
    """

    by: str = ""
    label: str = ""
    server: str = ""
    device: str = ""
    broker: str = ""
    data: str = ""
    ports: tuple[str, ...] = ()
    found: dict[str, Thing] = {}
    cameras: tuple[dict[str, Any], ...] = ()
    slots: tuple[dict[str, Any], ...] = ()
    camera: str = ""
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

    def ask(self, question: str, default: str = "", *, hidden: bool = False) -> str:
        """An answer, or the default; Stopped where the installer leaves. A `hidden` one is not shown as it is typed."""

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

    def ask(self, question: str, default: str = "", *, hidden: bool = False) -> str:  # noqa: ARG002  # nobody hears it
        return default

    def pressed(self) -> str | None:
        return None


class Keyboard:
    """Somebody at a terminal, also at the far end of a slow line: plain lines, and Enter after each answer.

    On a terminal, what was typed before a question or an instruction stood there answers neither. One that cannot go
    back to the start of a line (TERM=dumb, a pipe) gets a new line now and then instead.
    """

    there = True

    def __init__(self, console: Console, source: TextIO = sys.stdin) -> None:
        self._console, self._source = console, source
        if isinstance(source, io.TextIOWrapper):
            source.reconfigure(errors="replace")  # a terminal with another encoding sends what is no UTF-8
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._live, self._clock, self._shown, self._again = False, SystemClock(), "", 0.0
        threading.Thread(target=self._read, name="keyboard", daemon=True).start()

    def tell(self, text: str) -> None:
        self._end_live()
        self._forget()
        self._console.print(text, markup=False)

    def live(self, text: str) -> None:
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            now = self._clock.monotonic()
            if text != self._shown and now >= self._again:
                self._console.print(text, markup=False)
                self._shown, self._again = text, now + SLOW_S
            return
        self._console.file.write(f"\r\x1b[K{text[:self._console.width - 1]}")
        self._console.file.flush()
        self._live = True

    def ask(self, question: str, default: str = "", *, hidden: bool = False) -> str:
        self._end_live()
        self._forget()
        with self._unseen() if hidden else contextlib.nullcontext():
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

    def _forget(self) -> None:
        if self._source.isatty():
            while self.pressed() is not None:
                pass

    @contextlib.contextmanager
    def _unseen(self) -> Iterator[None]:
        """What is typed does not show, where this is a terminal."""
        if not self._source.isatty():
            yield
            return
        usual = termios.tcgetattr(self._source)
        blind = termios.tcgetattr(self._source)
        blind[3] &= ~termios.ECHO
        termios.tcsetattr(self._source, termios.TCSADRAIN, blind)
        try:
            yield
        finally:
            termios.tcsetattr(self._source, termios.TCSADRAIN, usual)
            self._console.print()

    def _end_live(self) -> None:
        if self._live:
            self._console.file.write("\r\x1b[K")
            self._live = False

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the terminal is gone, which ends it as the end of a file does
            for line in self._source:
                self._lines.put(line)
        self._lines.put(None)
