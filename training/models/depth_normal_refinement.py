"""The recurrent half of Metric3D v2's decoder: context, three gated recurrent units, update heads, upsampling.

Sources: Teed and Deng 2020 (RAFT), Lipson et al. 2021 (RAFT-Stereo: units at three sizes), as Metric3D v2 (Hu et
al. 2024) uses them. Names are those of the official checkpoints. Maps run from fine to coarse: 1/4, 1/7, 1/14.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.convnext import ChannelNorm
from training.models.dpt import FeaturePyramid

# Ten times the encoder's: too little to see in depth, so a test holds it.
NORM_EPSILON = 1e-5
STATE_CHANNELS = 6
UPSAMPLING = 4
NEIGHBOURS = 9
MASK_GAIN = 0.25


class ContextBlock(nn.Module):
    """A residual block whose shortcut is projected and normed."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = ChannelNorm(channels, eps=NORM_EPSILON)
        self.norm2 = ChannelNorm(channels, eps=NORM_EPSILON)
        self.norm3 = ChannelNorm(channels, eps=NORM_EPSILON)
        # The official state dict knows the shortcut's norm under both names.
        self.downsample = nn.Sequential(nn.Conv2d(in_channels, channels, 1), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same size."""
        branch = functional.relu(self.norm1(self.conv1(x)))
        branch = functional.relu(self.norm2(self.conv2(branch)))
        return functional.relu(branch + self.downsample(x))


class ContextEncoder(nn.Module):
    """The pyramid into the first hidden state and the context of each recurrent unit."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.outputs04 = _context_branches(width // 4, hidden)
        self.outputs08 = _context_branches(width // 2, hidden)
        self.outputs16 = _context_branches(width, hidden)

    def forward(self, pyramid: FeaturePyramid) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden states and contexts, (B, hidden, H / s, W / s) with s 4, 7, 14."""
        scales = (
            (self.outputs04, pyramid.at_4),
            (self.outputs08, pyramid.at_7),
            (self.outputs16, pyramid.at_14),
        )
        hidden = [torch.tanh(branches[0](features)) for branches, features in scales]
        context = [functional.relu(branches[1](features)) for branches, features in scales]
        return hidden, context


def _context_branches(in_channels: int, hidden: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(ContextBlock(in_channels, hidden), nn.Conv2d(hidden, hidden, 3, padding=1)) for _ in range(2)
    )


class ConvGru(nn.Module):
    """A convolutional gated recurrent unit whose gates also take a fixed context."""

    def __init__(self, hidden: int, in_channels: int) -> None:
        super().__init__()
        self.convz = nn.Conv2d(hidden + in_channels, hidden, 3, padding=1)
        self.convr = nn.Conv2d(hidden + in_channels, hidden, 3, padding=1)
        self.convq = nn.Conv2d(hidden + in_channels, hidden, 3, padding=1)

    def forward(self, hidden: Tensor, context: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        """The next hidden state; ``context`` holds the update gate's, the reset gate's and the candidate's."""
        context_z, context_r, context_q = context
        x = torch.cat(inputs, dim=1)
        joined = torch.cat([hidden, x], dim=1)
        update = torch.sigmoid(self.convz(joined) + context_z)
        reset = torch.sigmoid(self.convr(joined) + context_r)
        candidate = torch.tanh(self.convq(torch.cat([reset * hidden, x], dim=1)) + context_q)
        return (1 - update) * hidden + update * candidate


class DeltaHead(nn.Module):
    """A hidden state into a step of the state: depth and its confidence, then normal and kappa."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.conv1d = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv2d = nn.Conv2d(hidden, 2, 3, padding=1)
        self.conv1n = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv2n = nn.Conv2d(hidden, 4, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """The step (B, STATE_CHANNELS, H / 4, W / 4)."""
        depth_step = self.conv2d(functional.relu(self.conv1d(hidden)))
        normal_step = self.conv2n(functional.relu(self.conv1n(hidden)))
        return torch.cat([depth_step, normal_step], dim=1)


class UpdateBlock(nn.Module):
    """The three recurrent units and the heads on the finest."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru08 = ConvGru(hidden, hidden + STATE_CHANNELS)
        self.gru16 = ConvGru(hidden, 2 * hidden)
        self.gru32 = ConvGru(hidden, hidden)
        self.flow_head = DeltaHead(hidden)
        self.mask = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, NEIGHBOURS * UPSAMPLING**2, 1),
        )

    def forward(
        self, hidden: Sequence[Tensor], context: Sequence[Sequence[Tensor]], state: Tensor
    ) -> list[Tensor]:
        """The next hidden states: the coarsest unit steps three times, the middle one twice, the finest once."""
        at_4, at_7, at_14 = hidden
        at_14 = self.gru32(at_14, context[2], _halved(at_7))
        for _ in range(2):
            at_14 = self.gru32(at_14, context[2], _halved(at_7))
            at_7 = self.gru16(at_7, context[1], _resized(_halved(at_4), at_7), _resized(at_14, at_7))
        at_4 = self.gru08(at_4, context[0], state, _resized(at_7, at_4))
        return [at_4, at_7, at_14]

    def mask_logits(self, finest_hidden: Tensor) -> Tensor:
        """Logits (B, 144, H / 4, W / 4) of the convex combinations of ``ConvexUpsampling``."""
        logits: Tensor = self.mask(finest_hidden)
        return MASK_GAIN * logits


class ConvexUpsampling(nn.Module):
    """Every fine pixel as a convex combination of the 3x3 coarse pixels around it (Teed and Deng 2020, 3.3)."""

    def forward(self, state: Tensor, mask_logits: Tensor) -> Tensor:
        """The state (B, C, H, W) at four times its size; values are not scaled, for they are no flow."""
        batch, _, rows, columns = (int(side) for side in state.shape)
        weights = mask_logits.reshape(batch, 1, NEIGHBOURS, UPSAMPLING, UPSAMPLING, rows, columns).softmax(dim=2)
        padded = functional.pad(state, (1, 1, 1, 1))
        shifted = [padded[:, :, y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
        neighbours = torch.stack(shifted, dim=2)[:, :, :, None, None]
        fine = (weights * neighbours).sum(dim=2).permute(0, 1, 4, 2, 5, 3)
        return fine.reshape(batch, -1, UPSAMPLING * rows, UPSAMPLING * columns)


def _halved(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=2, padding=1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    rows, columns = (int(side) for side in like.shape[-2:])
    return functional.interpolate(x, (rows, columns), mode="bilinear", align_corners=True)
