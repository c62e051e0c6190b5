"""DroidNet with weights set by hand, so that it matches: no training, and every convention on the way has to hold.

The features are those of the seeded random encoder, centred. They tell cells apart but not parts of a cell. The
update reads the displacement straight off the correlation above a threshold, as the sum over the 7x7 window of
correlation times offset, and is as sure as the correlation where it stands is high.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from seeded_droid_net import seeded_net
from torch import nn

from droid_bridge.matching.droid_net.network import DroidNet, normalised

OFFSETS = [(dx, dy) for dx in range(-3, 4) for dy in range(-3, 4)]
CORRELATION_INPUT = 256  # of the recurrent unit, behind the hidden state and the context
SATURATED = 200.0
TANH_CELLS = 8.0  # displacements that a tanh passes on almost unchanged
LEFT_RIGHT_UP_DOWN = ((0, 1), (2, 3))
CONFIDENCE = 4


def handmade_net(
    example: NDArray[np.uint8], gain: float = 1.0, threshold: float = 0.2, sharpness: float = 4.0
) -> DroidNet:
    """The network; an example image tells the mean and the size of its features.

    Parameters
    ----------
    example : uint8 (height, width, 3).
    gain : step over displacement.
    threshold : correlation that counts as nothing alike, where that of a cell with itself is about 1.
    sharpness : how steeply the confidence grows with the correlation.
    """
    net = seeded_net()
    with torch.no_grad():
        _centre_features(net, example)
        for module in net.update.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                module.bias.zero_()
        _read_displacement(net, gain, threshold)
        _pass_through_the_gru(net)
        _answer(net, sharpness)
    return net


def _centre_features(net: DroidNet, example: NDArray[np.uint8]) -> None:
    """Features of mean zero whose correlation with themselves is about one."""
    features = net.fnet(normalised(example, torch.device("cpu")))
    net.fnet.conv2.bias -= features.mean(dim=(0, 2, 3))
    size = 4 / (features - features.mean(dim=(2, 3), keepdim=True)).pow(2).sum(dim=1).mean().sqrt()
    net.fnet.conv2.weight *= size
    net.fnet.conv2.bias *= size


def _read_displacement(net: DroidNet, gain: float, threshold: float) -> None:
    """Displacement along each axis in two channels, one for each sign, and the correlation where we are."""
    first, second = net.update.corr_encoder[0], net.update.corr_encoder[2]
    for channel, offset in enumerate(OFFSETS):
        first.weight[channel, channel, 0, 0] = 1
        first.bias[channel] = -threshold
        for axis, signs in enumerate(LEFT_RIGHT_UP_DOWN):
            for k, sign in zip(signs, (1, -1), strict=True):
                second.weight[k, channel] = sign * gain / 9 * offset[axis]
    second.weight[CONFIDENCE, OFFSETS.index((0, 0)), 1, 1] = 1


def _pass_through_the_gru(net: DroidNet) -> None:
    """A hidden state that takes its inputs over and forgets the rest."""
    net.update.gru.convz.bias.fill_(SATURATED)
    for k in range(CONFIDENCE + 1):
        net.update.gru.convq.weight[k, CORRELATION_INPUT + k, 1, 1] = 1 / TANH_CELLS


def _answer(net: DroidNet, sharpness: float) -> None:
    for head in (net.update.delta, net.update.weight):
        for k in range(CONFIDENCE + 1):
            head[0].weight[k, k, 1, 1] = 1
    for axis, (plus, minus) in enumerate(LEFT_RIGHT_UP_DOWN):
        net.update.delta[2].weight[axis, plus, 1, 1] = TANH_CELLS
        net.update.delta[2].weight[axis, minus, 1, 1] = -TANH_CELLS
    net.update.weight[2].weight[:, CONFIDENCE, 1, 1] = 2 * sharpness * TANH_CELLS
    net.update.weight[2].bias.fill_(-sharpness)
