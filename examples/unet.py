"""A U-Net for examples/denoise.py: some slices in, the middle one of them out. Needs PyTorch.

O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015; here with padded convolutions, so that what
comes out is as large as what goes in, without batch statistics, which would make a tile's
result depend on the tiles beside it, and with bilinear steps up, which leave no checkerboard.
"""
import torch
from torch import nn
from torch.nn import functional


class Pair(nn.Module):
    """Two convolutions of 3 x 3 with their rectifiers."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        x = functional.leaky_relu(self.first(x), 0.1)
        return functional.leaky_relu(self.second(x), 0.1)


class UNet(nn.Module):
    """float32 (batch, slices, h, w) to (batch, 1, h, w); h and w are multiples of 2^levels.

    channels  at full size, twice as many at each of the `levels` below
    """

    def __init__(self, slices, channels, levels):
        super().__init__()
        widths = [channels << k for k in range(levels + 1)]
        self.down = nn.ModuleList(
            Pair(i, o) for i, o in zip([slices, *widths[:-1]], widths))
        self.up = nn.ModuleList(
            Pair(below + beside, beside) for below, beside in
            zip(widths[:0:-1], widths[-2::-1]))
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        kept = []
        for k, pair in enumerate(self.down):
            x = pair(x if k == 0 else functional.max_pool2d(x, 2))
            kept.append(x)
        for pair, beside in zip(self.up, kept[-2::-1]):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear",
                                       align_corners=False)
            x = pair(torch.cat([x, beside], 1))
        return self.last(x)
