"""The detector on ONNX Runtime; the only module that imports it."""

from __future__ import annotations

from pathlib import Path

import cv2
import onnxruntime

from edge.errors import ModelError
from edge.vision.boxes import decode, letterbox, suppress, to_frame
from edge.vision.card import MAKE, Card, read_model
from edge.vision.detector import Detections, Floats, Image

DEFAULT_MODEL = Path(__file__).parent / "models" / "shelf.onnx"


def _session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session for a small box: few threads that do not spin, and no memory kept beyond what one run needs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    # Between frames a spinning thread would eat the core that the sensors need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class OnnxDetector:
    """A detector whose bytes its card has vouched for."""

    def __init__(self, data: bytes, card: Card, threads: int = 1, threshold: float | None = None) -> None:
        self.card = card
        self.threshold = card.threshold if threshold is None else threshold
        self._session = _session(data, threads)
        self._input = self._session.get_inputs()[0].name

    @classmethod
    def load(cls, model: Path = DEFAULT_MODEL, threads: int = 1, threshold: float | None = None) -> OnnxDetector:
        """The detector in `model`; `threshold` overrides the card's, which was chosen for supermarket photos.

        Raises:
            ModelError: the model or its card is missing, altered, of another schema, or no ONNX graph
                of the card's input and outputs.
        """
        data, card = read_model(model)
        try:
            detector = cls(data, card, threads, threshold)
        except (onnxruntime.capi.onnxruntime_pybind11_state.Fail,
                onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
                onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
                onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented) as error:  # fmt: skip
            raise ModelError(str(model), f"not a model for ONNX Runtime: {error}", MAKE) from error
        shape, wanted = detector._session.get_inputs()[0].shape, [1, 3, card.input[1], card.input[0]]
        if shape != wanted or len(detector._session.get_outputs()) != len(card.strides):
            raise ModelError(str(model), f"its input is {shape}, its card says {wanted}", MAKE)
        return detector

    def infer(self, canvas: Image) -> list[Floats]:
        """Raw maps (classes + 4, h, w), one per stride, of a letterboxed BGR frame."""
        blob = cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)
        return [output[0] for output in self._session.run(None, {self._input: blob})]

    def detect(self, frame: Image) -> Detections:
        """The goods in a BGR frame, uint8 (h, w, 3), at or above the card's threshold."""
        canvas, fit = letterbox(frame, *self.card.input)
        found = decode(self.infer(canvas), self.card.strides, self.threshold)
        kept = suppress(found, self.card.nms_iou, self.card.max_detections)
        return to_frame(kept, fit, frame.shape[1], frame.shape[0], self.card.classes)
