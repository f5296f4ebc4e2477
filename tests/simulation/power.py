"""Power cuts inside one operation: the disk as it is before the n-th statement, sync or rename, and nothing after i"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edge.uplink.outbox import Outbox


def copy(folder: Path, to: Path) -> Path:
    """The folder's files as they are now; SQLite's shared memory does not outlive a power cut."""
    to.mkdir(parents=True)
    for entry in os.scandir(folder):
        if not entry.name.endswith("-shm"):
            shutil.copyfile(entry.path, to / entry.name)
    return to


class Power:
    """The supply of the one device that does something now."""

    def __init__(self) -> None:
        self._left = 0
        self._folder = self._to = Path()
        self.image: Path | None = None

    def plan(self, folder: Path, to: Path, left: int) -> None:
        """At the `left`-th point from now, `folder` is copied `to` there."""
        self._folder, self._to, self._left, self.image = folder, to, left, None

    def done(self) -> Path | None:
        """The image, where the operation was long enough; nothing is planned any more."""
        image, self.image, self._left = self.image, None, 0
        return image

    def point(self, _statement: str = "") -> None:
        """The power may go here."""
        if self._left:
            self._left -= 1
            if not self._left:
                self.image = copy(self._folder, self._to)

    def watch(self, outbox: Outbox | None) -> None:
        """Each statement of this outbox is such a point, while something is planned."""
        if outbox is not None:
            outbox.disk.db.set_trace_callback(self.point if self._left else None)

    @contextmanager
    def wired(self) -> Iterator[None]:
        """Within: every sync, rename and note of the outbox passes by here, and so do new connections."""
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect

        def connected(*args: Any, **options: Any) -> sqlite3.Connection:
            db = connect(*args, **options)
            db.set_trace_callback(self.point if self._left else None)
            return db

        def before(call: Callable[..., Any]) -> Callable[..., Any]:
            def passing(*args: Any, **options: Any) -> Any:
                self.point()
                return call(*args, **options)
            return passing

        with ExitStack() as stack:
            stack.enter_context(patch.object(sqlite3, "connect", connected))
            for name in ("fsync", "pwrite", "replace", "rename"):
                stack.enter_context(patch.object(os, name, before(getattr(os, name))))
            yield
