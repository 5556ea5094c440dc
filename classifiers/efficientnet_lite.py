"""EfficientNet-Lite0, built so that the published weights of ImageNet fit into it.

The blocks are those of Tan and Le, "EfficientNet", arXiv 1905.11946. The Lite variant has no squeeze-and-excitation,
and ReLU6 in place of swish. The weights were trained in TensorFlow. Its padding "SAME" pads the right and the bottom
more than the left and the top if the total is odd, and its batch norm has eps = 1e-3.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

DIMENSION = 1280  # of the features
EPS = 1e-3  # of batch norm
STEM = 32  # channels
STAGES = (  # (repeats, kernel size, stride of the first block, expansion, channels)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution without bias that pads like "SAME" of TensorFlow: the output has ceil(size / stride) px."""

    def __init__(self, w_in: int, w_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(w_in, w_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, w_in, H, W) to (N, w_out, ceil(H / stride), ceil(W / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        bottom, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        return super().forward(pad(x, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, EPS)


class MBConv(nn.Module):
    """The inverted bottleneck: expand by 1 x 1, filter each channel by k x k, project by 1 x 1, add the input."""

    def __init__(self, w_in: int, w_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = w_in * expansion
        if expansion > 1:
            self.expand_conv, self.bn0 = SameConv2d(w_in, width, 1), _norm(width)
        self.depthwise_conv, self.bn1 = SameConv2d(width, width, kernel, stride, groups=width), _norm(width)
        self.project_conv, self.bn2 = SameConv2d(width, w_out, 1), _norm(w_out)
        self.expands, self.adds_input = expansion > 1, stride == 1 and w_in == w_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, w_in, H, W) to (N, w_out, ceil(H / stride), ceil(W / stride))."""
        h = nn.functional.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        h = nn.functional.relu6(self.bn1(self.depthwise_conv(h)))
        out: Tensor = self.bn2(self.project_conv(h))
        return x + out if self.adds_input else out


class EfficientNetLite0(nn.Module):
    """Maps images, float (N, 3, H, W), normalised as in its training, to features (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = SameConv2d(3, STEM, 3, stride=2), _norm(STEM)
        blocks, w_in = list[nn.Module](), STEM
        for repeats, kernel, stride, expansion, w_out in STAGES:
            for i in range(repeats):
                blocks.append(MBConv(w_in, w_out, kernel, 1 if i else stride, expansion))
                w_in = w_out
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = SameConv2d(w_in, DIMENSION, 1), _norm(DIMENSION)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over all positions of the last layer: (N, 1280)."""
        h = self.blocks(nn.functional.relu6(self.bn0(self.conv_stem(x))))
        return nn.functional.relu6(self.bn1(self.conv_head(h))).mean((2, 3))


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights by the names of `EfficientNetLite0`; theirs begin with underscores."""
    return {name.lstrip("_").replace("._", "."): tensor for name, tensor in tensors.items()}
