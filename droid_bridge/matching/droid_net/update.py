"""DROID-SLAM's update operator: how matches should change, and how sure they are (Teed and Deng, 2021, 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from droid_bridge.matching.droid_net.correlation import CORRELATION_CHANNELS

HIDDEN_CHANNELS = 128
CONTEXT_CHANNELS = 128
UPSAMPLING = 8
_MOTION_CHANNELS = 4
_CORRELATION_FEATURES = 128
_FLOW_FEATURES = 64
_MAX_MOTION_CELLS = 64.0
_DAMPING_SCALE = 0.01


@dataclass(frozen=True)
class EdgeUpdate:
    """What one step says of E edges.

    Attributes
    ----------
    hidden : (E, 128, rows, columns) hidden state to go on from.
    delta : float32 (E, 2, rows, columns) correction of the coordinates, in cells, column first.
    weight : float32 (E, 2, rows, columns) confidence of each coordinate, 0 to 1.
    """

    hidden: Tensor
    delta: Tensor
    weight: Tensor


@dataclass(frozen=True)
class FrameUpdate:
    """What the hidden states of all edges of a frame say of that frame, K frames in rising order.

    Attributes
    ----------
    damping : float32 (K, rows, columns) damping of the inverse depths.
    upsampling_mask : (K, 576, rows, columns) logits of ``upsampled``.
    """

    damping: Tensor
    upsampling_mask: Tensor


class ConvGru(nn.Module):
    """A convolutional gated recurrent unit whose gates also see the mean of the whole hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.convz, self.convr, self.convq = (_gate() for _ in range(3))
        self.convz_glo, self.convr_glo, self.convq_glo, self.w = (_pointwise() for _ in range(4))

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Hidden state (E, 128, rows, columns) after the inputs (E, 320, rows, columns)."""
        whole = (torch.sigmoid(self.w(hidden)) * hidden).mean(dim=(2, 3), keepdim=True)
        both = torch.cat([hidden, inputs], dim=1)
        update = torch.sigmoid(self.convz(both) + self.convz_glo(whole))
        reset = torch.sigmoid(self.convr(both) + self.convr_glo(whole))
        proposed = torch.tanh(self.convq(torch.cat([reset * hidden, inputs], dim=1)) + self.convq_glo(whole))
        return (1 - update) * hidden + update * proposed


class GraphAggregation(nn.Module):
    """The mean of the hidden states of all edges that leave a frame, as damping and upsampling of its depths."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 3, padding=1)
        self.conv2 = nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 3, padding=1)
        self.eta = nn.Sequential(nn.Conv2d(HIDDEN_CHANNELS, 1, 3, padding=1), nn.Softplus())
        self.upmask = nn.Sequential(nn.Conv2d(HIDDEN_CHANNELS, UPSAMPLING**2 * 9, 1))

    def forward(self, hidden: Tensor, source: Tensor) -> FrameUpdate:
        """Aggregate hidden states (E, 128, rows, columns) over the source frames (E,) of their edges."""
        frames, position = torch.unique(source, sorted=True, return_inverse=True)
        of_edges = torch.relu(self.conv1(hidden))
        total = of_edges.new_zeros(frames.numel(), *of_edges.shape[1:]).index_add(0, position, of_edges)
        edges = torch.bincount(position, minlength=frames.numel()).to(total.dtype)
        of_frames = torch.relu(self.conv2(total / edges[:, None, None, None]))
        damping = _DAMPING_SCALE * self.eta(of_frames).float()
        return FrameUpdate(damping[:, 0], self.upmask(of_frames))


class UpdateOperator(nn.Module):
    """One step of the recurrent matcher, for E edges at once."""

    def __init__(self) -> None:
        super().__init__()
        self.corr_encoder = _encoder(CORRELATION_CHANNELS, _CORRELATION_FEATURES, _CORRELATION_FEATURES, 1)
        self.flow_encoder = _encoder(_MOTION_CHANNELS, 128, _FLOW_FEATURES, 7)
        self.gru = ConvGru()
        self.weight = nn.Sequential(*_head(), nn.Sigmoid())
        self.delta = nn.Sequential(*_head())
        self.agg = GraphAggregation()

    def forward(self, hidden: Tensor, context: Tensor, correlation: Tensor, motion: Tensor) -> EdgeUpdate:
        """One step.

        Parameters
        ----------
        hidden, context : (E, 128, rows, columns) state of the edge and context of its source frame.
        correlation : (E, 196, rows, columns) looked up where the geometry expects the cells.
        motion : (E, 4, rows, columns) in cells: the motion the geometry expects, and how far from there the last
            step had the match.
        """
        motion = motion.clamp(-_MAX_MOTION_CELLS, _MAX_MOTION_CELLS)
        inputs = torch.cat([context, self.corr_encoder(correlation), self.flow_encoder(motion)], dim=1)
        hidden = self.gru(hidden, inputs)
        return EdgeUpdate(hidden, self.delta(hidden).float(), self.weight(hidden).float())


def upsampled(values: Tensor, mask: Tensor) -> Tensor:
    """Values at eight times their size, each a convex combination of the 3x3 around it (RAFT, 2020, section 3.3).

    Parameters
    ----------
    values : (K, rows, columns), zero outside.
    mask : (K, 576, rows, columns) logits: neighbour, then row and column within the cell.

    Returns
    -------
    (K, 8 rows, 8 columns).
    """
    frames, rows, columns = values.shape
    weights = mask.reshape(frames, 9, UPSAMPLING, UPSAMPLING, rows, columns).softmax(dim=1)
    around = functional.unfold(values[:, None], 3, padding=1).reshape(frames, 9, 1, 1, rows, columns)
    fine = (weights * around).sum(dim=1)
    return fine.permute(0, 3, 1, 4, 2).reshape(frames, UPSAMPLING * rows, UPSAMPLING * columns)


def _encoder(in_channels: int, between: int, out_channels: int, first_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, between, first_size, padding=first_size // 2),
        nn.ReLU(),
        nn.Conv2d(between, out_channels, 3, padding=1),
        nn.ReLU(),
    )


def _gate() -> nn.Conv2d:
    inputs = CONTEXT_CHANNELS + _CORRELATION_FEATURES + _FLOW_FEATURES
    return nn.Conv2d(HIDDEN_CHANNELS + inputs, HIDDEN_CHANNELS, 3, padding=1)


def _pointwise() -> nn.Conv2d:
    return nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 1)


def _head() -> list[nn.Module]:
    return [
        nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(HIDDEN_CHANNELS, 2, 3, padding=1),
    ]
