"""The detector on ONNX Runtime; the only module that imports it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from edge.errors import ModelError
from edge.vision import closer
from edge.vision.boxes import decode, letterbox, suppress, to_frame
from edge.vision.card import MAKE, PRODUCT, Card, read_model
from edge.vision.detector import Detections, Floats, Image

DEFAULT_MODEL = Path(__file__).parent / "models" / "shelf.onnx"
Threshold = float | Mapping[str, float] | None
_NEVER = 1.0


def _session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session for a small box: few threads that do not spin, and its arena, which holds just what one run needs.

    Without the arena each run takes its memory anew: slower by 0.7 ms, and in pieces that cost 29 MB more.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    # Between frames a spinning thread would eat the core that the sensors need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class OnnxDetector:
    """A detector whose bytes its card has vouched for.

    `threshold` overrides the card's: one score for goods, or scores by class.
    """

    def __init__(self, data: bytes, card: Card, threads: int = 1, threshold: Threshold = None) -> None:
        self.card = card
        own = {PRODUCT: threshold} if isinstance(threshold, float | int) else threshold or {}
        self.thresholds = tuple({**card.thresholds, **own}[name] for name in card.classes)
        self._products = tuple(
            score if name == PRODUCT else _NEVER for name, score in zip(card.classes, self.thresholds, strict=True)
        )
        self.inferences = 0
        self._session = _session(data, threads)
        self._input = self._session.get_inputs()[0].name
        # Cameras share a detector, so one looks at a time; a small box has no memory for two at once either.
        self._one = threading.Lock()
        self._bound = self._session.io_binding()
        self._maps: list[Floats] = []

    @classmethod
    def load(cls, model: Path = DEFAULT_MODEL, threads: int = 1, threshold: Threshold = None) -> OnnxDetector:
        """The detector in `model`; `threshold` overrides the card's, which was chosen for supermarket photos.

        Raises:
            ModelError: the model or its card is missing, altered, of another schema, or no ONNX graph
                of the card's input and outputs.
        """
        data, card = read_model(model)
        try:
            detector = cls(data, card, threads, threshold)
        except (onnxruntime.capi.onnxruntime_pybind11_state.Fail,
                onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
                onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
                onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
                onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented) as error:  # fmt: skip
            raise ModelError(str(model), f"not a model for ONNX Runtime: {error}", MAKE) from error
        given = detector._session.get_inputs()[0]
        wanted = [1, card.input[1], card.input[0], 4]
        if given.shape != wanted or given.type != "tensor(uint8)":
            raise ModelError(str(model), f"its input is {given.type} {given.shape}, its card says {wanted}", MAKE)
        kinds = {output.type for output in detector._session.get_outputs()}
        if kinds != {"tensor(float)"}:
            raise ModelError(str(model), f"its maps are {', '.join(sorted(kinds))}, not tensor(float)", MAKE)
        maps = [output.shape[1] for output in detector._session.get_outputs()]
        if maps != [len(card.classes) + 4 * len(card.distances)] * len(card.strides):
            raise ModelError(str(model), f"its maps have {maps} channels, its card tells of others", MAKE)
        sizes = [output.shape[2:] for output in detector._session.get_outputs()]
        cells = [[card.input[1] // stride, card.input[0] // stride] for stride in card.strides]
        if sizes != cells:
            raise ModelError(str(model), f"its maps are {sizes}, with its card's strides they were {cells}", MAKE)
        return detector

    def infer(self, canvas: Image) -> list[Floats]:
        """Raw maps (classes + 4 x bins, h, w), one per stride, of a letterboxed frame (h, w, 4).

        They hold until the next call of any thread, which fills them anew.
        """
        self.inferences += 1
        if not self._maps:
            self._hold()
        self._bound.bind_cpu_input(self._input, canvas[None])
        self._session.run_with_iobinding(self._bound)
        return [held[0] for held in self._maps]

    def _hold(self) -> None:
        """Let ONNX Runtime write its answers where they are read: it would make and fill new arrays each time."""
        for output in self._session.get_outputs():
            held = np.empty(output.shape, np.float32)
            self._bound.bind_output(output.name, "cpu", 0, np.float32, held.shape, held.ctypes.data)
            self._maps.append(held)

    def detect(self, frame: Image) -> Detections:
        """The goods in a BGR frame, uint8 (h, w, 3), at or above the card's threshold."""
        return closer.look(self._look, frame, self._products, self.card)

    def detect_all(self, frame: Image) -> Detections:
        """Goods and gaps; `classes` says which is which."""
        return closer.look(self._look, frame, self.thresholds, self.card)

    def _look(self, frame: Image, thresholds: tuple[float, ...]) -> Detections:
        canvas, fit = letterbox(frame, *self.card.input)
        with self._one:
            found = decode(self.infer(canvas), self.card.strides, thresholds, self.card.distances)
        kept = suppress(found, self.card.nms_iou, self.card.max_detections)
        return to_frame(kept, fit, frame.shape[1], frame.shape[0], self.card.classes)
