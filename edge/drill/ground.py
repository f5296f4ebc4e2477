"""Where a case happens: a folder on the real disk, a stand-in cloud, and the worker that is started and killed."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.drill.cloud import StandInCloud
from edge.errors import CornergridError

PATIENCE_S = 20.0


class DrillError(CornergridError):
    """A case could not go on; the text says at what."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of a case: records that were said to be kept, and what the cloud has of them."""

    put: int
    delivered: int
    lost: int
    twice: int

    def exact(self, *, may_lose: int) -> bool:
        """Nothing lost without a loss record, nothing twice; at most `may_lose` are told as lost."""
        return self.put <= self.delivered + self.lost and self.lost <= may_lose and self.twice == 0


class Ground:
    """One case's folder, cloud and worker."""

    def __init__(self, folder: Path, cloud: StandInCloud) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.cloud = folder, cloud
        self.said: list[dict[str, Any]] = []
        self._clock = SystemClock()
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._worker: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def outbox(self) -> Path:
        """The worker's outbox."""
        return self.folder / "outbox.db"

    @property
    def put(self) -> int:
        """The highest number that was said to be kept."""
        return max((line["put"] for line in self.said if "put" in line), default=0)

    def start(self, *options: str, going: bool = True) -> None:
        """Start the worker behind the last number that it said; it may have kept some more."""
        first = self.put + 1_000_000 if self.said else 1
        log = (self.folder / "worker.log").open("ab")
        with log:
            self._worker = subprocess.Popen(  # noqa: S603  # our own command
                [sys.executable, "-m", "edge.drill.worker", str(self.folder), str(self.cloud.broker.port), str(first),
                 *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, args=(self._worker,), daemon=True)
        self._reader.start()
        if going:
            self.order("go")

    def _read(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None  # noqa: S101  # it was asked for
        for line in worker.stdout:
            try:
                self._lines.put(json.loads(line))
            except ValueError:  # a kill in the middle of a line
                continue

    def order(self, text: str) -> None:
        """Tell the worker something."""
        assert self._worker is not None  # noqa: S101  # a case starts it first
        assert self._worker.stdin is not None  # noqa: S101
        self._worker.stdin.write(text + "\n")
        self._worker.stdin.flush()

    def until(self, happened: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Take what the worker says until something is so; DrillError where it takes too long."""
        end = self._clock.monotonic() + patience_s
        while not happened():
            if self._clock.monotonic() > end:
                raise DrillError(f"not within {patience_s:.0f} s: {what}")
            try:
                self.said.append(self._lines.get(timeout=0.1))
            except queue.Empty:
                continue

    def until_put(self, more: int) -> None:
        """Wait until so many more records are kept."""
        before = sum("put" in line for line in self.said)
        self.until(lambda: sum("put" in line for line in self.said) >= before + more // 5, f"{more} more records kept")

    def until_delivered(self, more: int) -> None:
        """Wait until the cloud has so many more."""
        before = len(self.cloud.ledger.facts)
        self.until(lambda: len(self.cloud.ledger.facts) >= before + more, f"{more} more records in the cloud")

    def kill(self) -> None:
        """kill -9, and take what the worker had said until then."""
        assert self._worker is not None  # noqa: S101  # a case starts it first
        assert self._reader is not None  # noqa: S101
        self._worker.send_signal(signal.SIGKILL)
        self._end()

    def finish(self) -> None:
        """Stop putting, wait until the cloud has everything, and end the worker."""
        self.order("stop")
        self.until(lambda: any("drained" in line for line in self.said[-3:]), "the worker ends", 40.0)
        self._end()

    def _end(self) -> None:
        assert self._worker is not None  # noqa: S101
        assert self._reader is not None  # noqa: S101
        if self._worker.stdin is not None:
            self._worker.stdin.close()
        self._worker.wait()
        self._reader.join()
        if self._worker.stdout is not None:
            self._worker.stdout.close()
        while not self._lines.empty():
            self.said.append(self._lines.get())
        self._worker = None

    def close(self) -> None:
        """End the worker where a case did not."""
        if self._worker is not None:
            self.kill()

    def counts(self) -> Counts:
        """What was kept against what the cloud has."""
        kept: set[int] = set()
        for line in self.said:
            if "put" in line:
                kept.update(range(line["put"] - 4, line["put"] + 1))
        with self.cloud.lock:
            ledger = self.cloud.ledger
            numbers = [int(fact.value) for fact in ledger.facts.values()
                       if fact.name == "drill/number" and isinstance(fact.value, float)]
            lost = ledger.losses()
        return Counts(len(kept), len(kept & set(numbers)), lost, len(numbers) - len(set(numbers)))
