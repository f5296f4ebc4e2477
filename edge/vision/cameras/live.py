"""A live camera under supervision: one thread drains it, notices that it fails, lets it go and opens it again.

A thread, not a process: every wait of a source ends by its own timeout, as measured with servers that were stopped,
killed or trickled, so there is nothing that only a kill would end. A camera of 1280 x 720 takes 16 MiB in its thread;
a process of its own would add 29 MiB for Python, NumPy and OpenCV, 58 with what is shared.
"""

from __future__ import annotations

import atexit
import random
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from edge.backoff import Backoff
from edge.clock import Clock
from edge.errors import CameraError
from edge.vision.cameras.frame import Frame
from edge.vision.detector import Image

log = structlog.get_logger(__name__)
OPEN_S = 4.0
READ_S = 3.0
"""A camera that sends no frame for this long has stalled."""
LAG_S = 3.0
"""Frames older than this are not given out; a stream that stays so far behind is opened anew."""
RETRY_S, RETRY_MAX_S, STABLE_S = 0.25, 2.0, 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that came: from when it is (`Pace`), its picture when asked for, its JPEG where it came as one."""

    t_monotonic: float | None
    decode: Callable[[], Image | None]
    jpeg: bytes | None = None


class Source(Protocol):
    """One connection to a camera; used by one thread."""

    def next(self) -> Arrival:
        """Wait for the next frame, up to `READ_S`; its `decode` counts until the next call.

        CameraError `stalled`, `stream_ended` or `undecodable`; then the source is to be closed.
        """

    def close(self) -> None:
        """Let the camera go."""


_OPEN: weakref.WeakSet[LiveCamera] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is still in FFmpeg when the process ends would abort it (SIGABRT)."""
    cameras = list(_OPEN)
    for camera in cameras:
        camera._stop()
    for camera in cameras:
        camera.close()


def _where(error: Exception) -> str:
    """Which kind of error, and the line of code that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


class LiveCamera:
    """The newest frame of a source, which is opened again, with jittered waits of up to 2 s, whenever it fails."""

    def __init__(self, open_source: Callable[[], Source], name: str, clock: Clock) -> None:
        """`name` is shown, so it tells no password. Opening goes on behind; `read` waits for it."""
        self.name = name
        self._open, self._clock = open_source, clock
        self._changed = threading.Condition()
        self._wanted = self._stopped = False
        self._frame: Frame | None = None
        self._failed: CameraError | None = None
        self._proven = False
        self._spoilt_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    def read(self) -> Frame:
        """A frame that came after this call.

        Raises:
            CameraError: at once and with its reason while the camera is lost; `stalled` after 8 s at the latest.
        """
        with self._changed:
            self._frame, self._wanted = None, True
            self._changed.wait_for(lambda: self._frame or self._failed or self._stopped, OPEN_S + READ_S + 1)
            self._wanted = False
            frame, self._frame = self._frame, None
            if frame is not None:
                return frame
            failed = self._failed or CameraError("closed" if self._stopped else "stalled", self.name)
            raise CameraError(failed.reason, failed.detail)

    def close(self) -> None:
        """End the thread; a wait of the source that is under way ends by its own timeout."""
        self._stop()
        self._thread.join(OPEN_S + READ_S + 1)
        _OPEN.discard(self)

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        backoff, rng = Backoff(RETRY_S, RETRY_MAX_S, STABLE_S), random.Random()
        while not self._stopped:
            began = self._clock.monotonic()
            try:
                self._flow()
            except CameraError as error:
                self._lose(error)
            except Exception as error:  # noqa: BLE001  # no mistake ends a camera; logged without its words: a login
                self._lose(CameraError("crashed", f"{self.name}: {_where(error)}"))
            lasted = self._clock.monotonic() - began if self._proven else 0.0
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, backoff.after(lasted, rng))

    def _lose(self, error: CameraError) -> None:
        if self._failed is None or self._failed.reason != error.reason:
            log.warning("camera_lost", camera=self.name, reason=error.reason, detail=error.detail)
        with self._changed:
            self._failed = error
            self._changed.notify_all()

    def _flow(self) -> None:
        """Open, and keep the stream drained until it fails or the camera is closed."""
        self._proven = False
        source = self._open()
        try:
            new = self._clock.monotonic()
            while not self._stopped:
                arrival = source.next()
                now = self._clock.monotonic()
                if arrival.t_monotonic is not None and now - arrival.t_monotonic <= LAG_S:
                    new = now
                    self._offer(arrival, arrival.t_monotonic)
                elif now - new > LAG_S:
                    raise CameraError("behind", f"{self.name}: frames come faster than they are taken; lower the "
                                                "camera's rate or size")
        finally:
            source.close()

    def _offer(self, arrival: Arrival, t: float) -> None:
        """Decode a frame that is asked for, or the first, which proves the camera well again."""
        if self._proven and not self._wanted:
            return
        image = arrival.decode()
        now = self._clock.monotonic()
        if image is None:
            self._spoilt_since = now if self._spoilt_since is None else self._spoilt_since
            if now - self._spoilt_since >= READ_S:
                self._spoilt_since = None
                raise CameraError("undecodable", f"{self.name} sends no picture that can be read")
            return
        self._spoilt_since = None
        with self._changed:
            if self._failed is not None:
                log.info("camera_back", camera=self.name, was=self._failed.reason)
            self._proven, self._failed = True, None
            if self._wanted:
                self._frame = Frame(image, t, arrival.jpeg)
            self._changed.notify_all()
