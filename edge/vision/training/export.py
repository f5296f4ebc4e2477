"""A checkpoint's averaged network as ONNX: batch norms folded, fixed input, decoding outside."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edge.vision.training.network import STRIDES, Separable, ShelfNet

INPUT = 640
CLASSES = ("product",)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exported file came from."""

    seed: int
    crops: int


def fold(net: ShelfNet) -> ShelfNet:
    """The same network in inference form, each batch norm inside the convolution before it."""
    net.eval()
    for part in net.modules():
        if isinstance(part, Separable):
            layers: Any = part.layers
            depthwise, norm1, pointwise, norm2, relu = layers
            part.layers = nn.Sequential(fuse_conv_bn_eval(depthwise, norm1), fuse_conv_bn_eval(pointwise, norm2), relu)
    return net


def export(checkpoint: Path, model: Path) -> Exported:
    """Write `model` (ONNX, fp32, 1 x 3 x 640 x 640 RGB in [0, 1] -> one raw map per stride)."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    net = ShelfNet()
    net.load_state_dict(state["average"])
    seed, crops = int(state["plan"]["seed"]), int(state["seen"])
    with warnings.catch_warnings():
        # The TorchScript exporter says that it is the old one; it needs no further packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fold(net),
            (torch.zeros(1, 3, INPUT, INPUT),),
            str(model),
            input_names=["image"],
            output_names=[f"stride{stride}" for stride in STRIDES],
            opset_version=17,
            dynamo=False,
        )
    graph = onnx.load(model)
    onnx.helper.set_model_props(graph, {"seed": str(seed), "crops": str(crops)})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, model)
    return Exported(seed, crops)
