"""Makes the box so: the steps are noted before the first is done, so that an interrupted run is completed.

The note, `/etc/cornergrid/install.journal`, holds all steps. Where it is there after a power cut,
`cornergrid-finish.service` does all of them again before the agent starts, as does the next install or uninstall.
Where the power went before the note was whole, nothing was changed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

import msgspec
import structlog

from edge.box.plan import JOURNAL
from edge.box.steps import Change, Command, Step, There, apply, below, look, sync, write_whole
from edge.errors import ConfigError, Problem

log = structlog.get_logger(__name__)
_steps = msgspec.json.Decoder(tuple[Step, ...])
COMMAND_S = 120


class Runner:
    """A box, or the folder of an image, that steps are done on."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._journal = below(root, JOURNAL)

    @property
    def is_box(self) -> bool:
        """Whether a service manager runs here; an image's folder gets files only."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()

    def there(self, path: str) -> There | None:
        """What is at a path now."""
        return look(self.root, path)

    def pending(self) -> tuple[Step, ...]:
        """The steps of an interrupted run; none where there was none. A damaged note counts as none, and is logged."""
        try:
            head, _, body = self._journal.read_bytes().partition(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return ()
        try:
            if head != _head(body):
                raise msgspec.DecodeError("its checksum is wrong")
            return _steps.decode(body)
        except msgspec.DecodeError as error:
            log.error("install_note_damaged", file=str(self._journal), error=str(error),
                      fix="run `cornergrid-edge install` again")
            return ()

    def run(self, steps: Iterable[Step], changes: Iterable[Change], told: Callable[[Change], None]) -> None:
        """Note all `steps`, do the `changes`, forget the note; `told` hears of each change before it is done.

        OSError or ConfigError where one cannot be done: the note stays, and the next run does them all again.
        """
        body = msgspec.json.encode(tuple(steps))
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        sync(self._journal.parent.parent)
        write_whole(self._journal, _head(body) + b"\n" + body, 0o600)
        for each in changes:
            if each.what != "unchanged":
                told(each)
                self._do(each.step)
        self.forget()

    def forget(self) -> None:
        """No run is under way any more."""
        part = self._journal.with_name(f"{self._journal.name}.part")
        for path in (part, self._journal):
            path.unlink(missing_ok=True)
        if self._journal.parent.is_dir():
            sync(self._journal.parent)

    def _do(self, step: Step) -> None:
        if not isinstance(step, Command):
            apply(self.root, step)
            return
        try:
            done = subprocess.run(step.argv, capture_output=True, text=True, timeout=COMMAND_S, check=False)  # noqa: S603  # the plan's own words
            wrong = done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            wrong = str(error)
        if wrong and step.may_fail:
            log.warning("command_failed", command=" ".join(step.argv), error=wrong)
        elif wrong:
            raise ConfigError("install", (Problem(" ".join(step.argv), wrong,
                                                  "put that right and run the same again: it goes on from here"),))


def _head(body: bytes) -> bytes:
    return f"cornergrid install 1 {crc32(body):08x}".encode()
