"""One camera, watched: a frame in, a reading per slot out, good or without a value and with a reason."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import structlog

from edge.clock import Clock
from edge.errors import CameraError
from edge.readings import Reading, no_value
from edge.vision.camera import Camera, Frame, open_camera
from edge.vision.eye import ShelfEye, Verdict

log = structlog.get_logger(__name__)


class CameraWatch:
    """Judges a camera's newest frame, one `sample()` at a time; the caller paces.

    Args:
        name: the readings' sensor.
        source: an address for `open_camera`, or what opens the camera.
        eye: what a frame says of each slot.
        clock: event time and the cameras' monotonic time.
    """

    def __init__(self, name: str, source: str | Callable[[], Camera], eye: ShelfEye, clock: Clock) -> None:
        self.name = name
        self._open: Callable[[], Camera] = partial(open_camera, source, clock) if isinstance(source, str) else source
        self._eye, self._clock = eye, clock
        self._camera: Camera | None = None

    def read(self) -> tuple[Reading, ...]:
        """One frame as a reading `facings/<slot>` for each slot, and `moved` where the camera was commissioned.

        Raises:
            CameraError: the camera gave no frame. A live one heals itself; pictures that came to their end begin anew.
        """
        try:
            if self._camera is None:
                self._camera = self._open()
                log.info("camera_opened", camera=self.name)
            frame = self._camera.read()
        except CameraError as error:
            if error.reason == "end_of_pictures":
                self.close()
            raise
        return self._observe(frame)

    def sample(self) -> tuple[Reading, ...]:
        """As `read`, but a camera's fault gives a reading without a value and with the reason per region."""
        try:
            return self.read()
        except CameraError as error:
            log.warning("camera_failed", camera=self.name, reason=error.reason, detail=error.detail)
            return self._nothing(self._clock.now(), error.reason)

    def close(self) -> None:
        """Let the camera go; the next sample opens it again."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def _observe(self, frame: Frame) -> tuple[Reading, ...]:
        t = self._clock.now() - max(0.0, self._clock.monotonic() - frame.t_monotonic)
        verdict = self._eye.judge(frame.image, frame.t_monotonic)
        return readings_of(self.name, verdict, tuple(stand.slot for stand in self._eye.stands), t)

    def _nothing(self, t: float, reason: str) -> tuple[Reading, ...]:
        return readings_of(self.name, Verdict(reason=reason), tuple(stand.slot for stand in self._eye.stands), t)


def readings_of(camera: str, verdict: Verdict, slots: tuple[str, ...], t: float) -> tuple[Reading, ...]:
    """A verdict as readings at event time `t`."""
    moved = () if verdict.moved is None else (
        Reading(camera, "moved", t, Decimal(str(round(verdict.moved, 3))), "/"),)
    if verdict.reason:
        return moved + tuple(no_value(camera, f"facings/{slot}", t, verdict.reason, "count") for slot in slots)
    return moved + tuple(
        no_value(camera, f"facings/{fill.slot}", t, fill.reason, "count") if fill.reason
        else Reading(camera, f"facings/{fill.slot}", t, Decimal(fill.facings), "count", sd=fill.sd)
        for fill in verdict.fills)
