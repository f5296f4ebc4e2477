"""One camera, watched: a frame in, a reading per slot out, good or without a value and with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial

import structlog

from edge.clock import Clock
from edge.errors import CameraError
from edge.readings import Reading, no_value
from edge.vision.camera import Camera, Frame, open_camera
from edge.vision.detector import Detector, Floats
from edge.vision.observe import (
    MOTION,
    OK,
    MotionRule,
    MotionState,
    Region,
    count_facings,
    frame_quality,
    motion_step,
    small_view,
    unchanged,
)

log = structlog.get_logger(__name__)


class CameraWatch:
    """Counts facings per slot in a camera's newest frame, one `sample()` at a time; the caller paces.

    Args:
        name: the readings' sensor.
        source: an address for `open_camera`, or what opens the camera.
        detector: finds the goods.
        regions: where the slots lie.
        clock: event time and the cameras' monotonic time.
        motion: when a frame shows somebody in front of the shelf.
    """

    def __init__(
        self,
        name: str,
        source: str | Callable[[], Camera],
        detector: Detector,
        regions: Sequence[Region],
        clock: Clock,
        motion: MotionRule = MOTION,
    ) -> None:
        self.name = name
        self.regions = tuple(regions)
        self.inferences = 0
        self._open: Callable[[], Camera] = partial(open_camera, source, clock) if isinstance(source, str) else source
        self._detector = detector
        self._clock = clock
        self._rule = motion
        self._camera: Camera | None = None
        self._motion: MotionState | None = None
        self._counted: tuple[Floats, dict[str, int]] | None = None

    def read(self) -> tuple[Reading, ...]:
        """One frame as one reading per region, `facings/<slot>`.

        Raises:
            CameraError: the camera gave no frame; it is closed, and the next call opens it again.
        """
        try:
            if self._camera is None:
                self._camera = self._open()
                log.info("camera_opened", camera=self.name)
            frame = self._camera.read()
        except CameraError:
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
        quality = frame_quality(frame.image)
        if quality != OK:
            return self._nothing(t, quality)
        small = small_view(frame.image)
        self._motion, moving = motion_step(self._motion, small, self._rule)
        if moving:
            return self._nothing(t, "settling" if self._motion.agreed < self._rule.warm else "blocked")
        counts = self._count(frame, small)
        return tuple(
            Reading(self.name, f"facings/{slot}", t, Decimal(count), "count") for slot, count in counts.items()
        )

    def _count(self, frame: Frame, small: Floats) -> dict[str, int]:
        """Facings per slot; a frame that shows what the last counted one showed costs no inference."""
        if self._counted is not None and unchanged(self._counted[0], small):
            return self._counted[1]
        self.inferences += 1
        counts = count_facings(self._detector.detect(frame.image), frame.image.shape, self.regions)
        self._counted = small, counts
        return counts

    def _nothing(self, t: float, reason: str) -> tuple[Reading, ...]:
        return tuple(no_value(self.name, f"facings/{r.slot}", t, reason, "count") for r in self.regions)
