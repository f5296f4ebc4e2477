"""Convolutions that train fast on a CPU: the same function of a picture, and the same gradients but for rounding.

oneDNN makes a kernel's gradient and its bias' together, frozen kernel or not, and a 5x5 depthwise kernel's takes ten
times as long as the rest of the layer: here each gradient is made apart, and only where it is wanted. Pointwise
convolutions multiply in bfloat16 where the processor can, which rounds their answers and gradients; the weights that
are kept, the sums inside and all other layers stay in single precision (Micikevicius et al. 2018, "Mixed Precision
Training").
"""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false, disallow-untyped-calls=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# oneDNN also emulates bfloat16, slowly, so the processor itself is asked; PyTorch has no public name for that.
BFLOAT16 = bool(torch.cpu._is_avx512_bf16_supported())
_backward: Any = torch.ops.aten.convolution_backward


class _Apart(torch.autograd.Function):
    """A convolution that multiplies in `kind` and makes each gradient apart."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: Any, kind: torch.dtype) -> Tensor:
        x, weight = x.to(kind), weight.to(kind)
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        y = functional.conv2d(x, weight, None, layer.stride, layer.padding, 1, layer.groups).float()
        return y if bias is None else y.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        layer, (of_x, of_weight, of_bias) = ctx.layer, ctx.needs_input_grad[:3]
        how = (list(layer.stride), list(layer.padding), [1, 1], False, [0, 0], layer.groups)
        into, kernel, _ = _backward(grad.to(x.dtype), x, weight, None, *how, [of_x, of_weight, False])
        return (
            into.float() if of_x else None,
            kernel.float() if of_weight else None,
            grad.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


class Conv(nn.Conv2d):
    """`nn.Conv2d`; in training on a CPU its gradients are made apart, where it pads with zeros and is not dilated."""

    def forward(self, x: Tensor) -> Tensor:
        plain = self.dilation == (1, 1) and self.padding_mode == "zeros"
        if not self.training or not plain or x.device.type != "cpu":
            return super().forward(x)
        pointwise = self.kernel_size == (1, 1)
        return _Apart.apply(x, self.weight, self.bias, self, torch.bfloat16 if pointwise and BFLOAT16 else x.dtype)
