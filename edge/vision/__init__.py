"""Frames become facings per slot: camera -> observe (quality, motion) -> detector (onnx) -> watch -> readings."""
