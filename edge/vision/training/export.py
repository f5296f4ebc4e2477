"""A checkpoint's averaged network as ONNX: fp32 and int8, batch norms folded, decoding outside.

Both take what a camera gives: `image`, uint8 (n, 640, 640, 4), BGR and one byte that is not looked at.
Four channels a pixel let ONNX Runtime's int8 kernels take the first convolution whole (measured: 15.3 ms
with three, 13.2 ms with four), and no float copy of the frame is made.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edge.errors import ModelError
from edge.vision.card import Source
from edge.vision.detector import Image
from edge.vision.training.bank import Bank
from edge.vision.training.fast import Conv
from edge.vision.training.network import DISTANCES, STRIDES, Lateral, Separable, ShelfNet
from edge.vision.training.provenance import BACKBONE, LICENCE, named
from edge.vision.training.robust import homeward
from edge.vision.training.scenes import crop, scene
from edge.vision.training.weights import load_checkpoint, load_sources, load_weights, save_weights

INPUT = 640
CHANNELS = 4
CALIBRATION = 40


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exported file came from; `sources` is JSON, as the card has it."""

    seed: int
    crops: int
    sources: str


def fold(net: ShelfNet) -> ShelfNet:
    """The same network in inference form: each batch norm inside the convolution before it, BGRX in."""
    net.eval()
    for part in net.modules():
        if isinstance(part, Separable | Lateral):
            layers: Any = part.layers
            folded = [fuse_conv_bn_eval(layers[i], layers[i + 1]) for i in range(0, len(layers) - 1, 2)]
            part.layers = nn.Sequential(*folded, *layers[2 * len(folded) :])
    old = net.backbone.stem
    stem = Conv(CHANNELS, old.out_channels, 3, 2, 1)
    stem.bias = old.bias
    with torch.no_grad():
        stem.weight.zero_()
        stem.weight[:, :3] = old.weight[:, [2, 1, 0]]
    net.backbone.stem = stem
    return net


def load(checkpoint: Path, also: Sequence[Path] = (), back: float = 0.0) -> tuple[dict[str, Any], Exported]:
    """A checkpoint's averaged weights, or the mean of its and others', and what they came from.

    `back`: how far they go back to ImageNet's (`robust.homeward`), 0 to 1.

    The mean of runs that began with the same weights errs less than each on what none of them was trained for
    (Wortsman et al. 2022, "Model soups").

    Raises:
        ModelError: a file is neither a checkpoint nor NAME.npz, or another network's.
    """
    first = load_checkpoint(checkpoint)
    sources = list(msgspec.json.decode(first["sources"], type=tuple[Source, ...]))
    states = [first["average"]]
    for path in also:
        if path.suffix == ".npz":
            states.append(load_weights(path))
            sources += load_sources(path)
            sources.append(Source(named(path), LICENCE, "part of the mean"))
        else:
            other = load_checkpoint(path, fix="name checkpoints and NAME.npz after --also")
            states.append(other["average"])
            sources += msgspec.json.decode(other["sources"], type=tuple[Source, ...])
            run = f"run of seed {other['plan']['seed']}, {other['seen']} crops"
            sources.append(Source(run, LICENCE, "part of the mean"))
        _same_network(states[0], states[-1], path)
    mean = {name: _mean([state[name] for state in states]) for name in states[0]}
    if back:
        mean = homeward(mean, back)
        told = f"ImageNet's widening weights, {back:g} of the way back"
        sources.append(Source(told, BACKBONE.licence, "part of the mean"))
    listed = msgspec.json.encode(tuple(dict.fromkeys(sources))).decode()
    return mean, Exported(int(first["plan"]["seed"]), int(first["seen"]), listed)


def _mean(tensors: list[Any]) -> Any:
    return sum(tensors[1:], tensors[0]) / len(tensors) if tensors[0].dtype.is_floating_point else tensors[0]


def _same_network(ours: dict[str, Any], theirs: dict[str, Any], path: Path) -> None:
    if {name: each.shape for name, each in ours.items()} != {name: each.shape for name, each in theirs.items()}:
        raise ModelError(str(path), "its weights are another network's", "name checkpoints and NAME.npz of one network")


def bgrx(picture: Image) -> Image:
    """A BGR picture (h, w, 3) with the fourth byte, (1, h, w, 4)."""
    return np.pad(picture, ((0, 0), (0, 0), (0, 1)))[None]


def calibration(seed: int, number: int = CALIBRATION) -> Iterator[Image]:
    """Rendered pictures (1, 640, 640, 4) that no training run with this seed sees."""
    bank = Bank(seed)
    for i in range(number):
        rng = np.random.default_rng((seed, 1 << 40, i))
        whole, scale = scene(rng, bank, INPUT)
        yield bgrx(crop(rng, whole, scale, INPUT).image)


class _Pictures(CalibrationDataReader):
    """Feeds `calibration` to the quantiser, which wants floats."""

    def __init__(self, seed: int, number: int) -> None:
        self._left = calibration(seed, number)

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._left, None)
        if picture is None:
            return None
        return {"image": picture.transpose(0, 3, 1, 2).astype(np.float32) / 255}


def _raw(net: ShelfNet, path: Path) -> None:
    """The folded network with a float input (1, 4, 640, 640)."""
    with warnings.catch_warnings():
        # The TorchScript exporter says that it is the old one; it needs no further packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(1, CHANNELS, INPUT, INPUT),),
            str(path),
            input_names=["image"],
            output_names=[f"stride{stride}" for stride in STRIDES],
            opset_version=17,
            dynamo=False,
        )


def take_bytes(graph: Any) -> None:
    """Let a graph take uint8 (n, h, w, 4) where it took floats in [0, 1] (1, 4, h, w), in place."""
    body = graph.graph
    body.initializer.extend(
        (
            numpy_helper.from_array(np.array(1 / 255, np.float32), "byte_scale"),
            numpy_helper.from_array(np.array(0, np.uint8), "byte_zero"),
        )
    )
    planes = helper.make_node("Transpose", ["image"], ["image_planes"], "image_planes", perm=[0, 3, 1, 2])
    quantised = [node for node in body.node if node.op_type == "QuantizeLinear" and node.input[0] == "image"]
    if quantised:
        # The bytes are the quantised picture already: its scale is 1/255 and its zero 0.
        old = quantised[0]
        for node in body.node:
            if node.op_type == "DequantizeLinear" and node.input[0] == old.output[0]:
                node.input[:] = ["image_planes", "byte_scale", "byte_zero"]
        body.node.remove(old)
    else:
        for node in body.node:
            node.input[:] = ["image_floats" if name == "image" else name for name in node.input]
        floats = ["image_planes", "byte_scale", "byte_zero"]
        body.node.insert(0, helper.make_node("DequantizeLinear", floats, ["image_floats"], "image_floats"))
    body.node.insert(0, planes)
    del body.input[:]
    body.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, INPUT, INPUT, CHANNELS]))


def _last(graph: Any) -> list[str]:
    """The nodes after the last activations: their answers stay float, so that near scores keep their order."""
    makers = {output: node for node in graph.graph.node for output in node.output}
    names = []
    for output in graph.graph.output:
        joined = makers[output.name]
        names += [joined.name, *(makers[name].name for name in joined.input)]
    return names


def _finish(graph: Any, made: Exported, kind: str, path: Path) -> None:
    take_bytes(graph)
    props = {
        "seed": str(made.seed),
        "crops": str(made.crops),
        "kind": kind,
        "strides": json.dumps(STRIDES),
        "distances": json.dumps(DISTANCES),
        "sources": made.sources,
    }
    helper.set_model_props(graph, props)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def export(
    checkpoint: Path,
    model: Path,
    int8: bool = False,
    pictures: int = CALIBRATION,
    also: Sequence[Path] = (),
    back: float = 0.0,
) -> Exported:
    """Write `model`: uint8 (1, 640, 640, 4) BGRX -> one raw map (1, classes + 4 x bins, h, w) per stride.

    int8 is static: per channel, MinMax, U8 activations and S8 weights, over `pictures` rendered pictures.
    """
    weights, made = load(checkpoint, also, back)
    net = ShelfNet()
    net.load_state_dict(weights)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        _raw(fold(net), raw)
        graph = onnx.load(raw)
        if int8:
            # The quantiser names each initialiser that it drops, hundreds of them.
            onnxruntime.set_default_logger_severity(3)
            quantised = Path(folder) / "int8.onnx"
            quantize_static(
                raw, quantised, _Pictures(made.seed, pictures), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=_last(graph),
                calibrate_method=CalibrationMethod.MinMax,
            )  # fmt: skip
            graph = onnx.load(quantised)
        _finish(graph, made, "int8" if int8 else "fp32", model)
    save_weights(weights, model.with_suffix(".npz"), made.sources)
    return made
