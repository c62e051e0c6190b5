"""The decoder of Metric3D v2: DPT features, a first depth and normal, and recurrent refinement (Hu et al. 2024).

Names are those of the official checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.depth_normal_refinement import ContextEncoder, ConvexUpsampling, UpdateBlock
from training.models.dpt import DptFusion, FeaturePyramid, TokenToFeature, rectify_fused_levels
from training.models.prediction import CanonicalPrediction
from training.models.vit import PatchTokens

MIN_DEPTH = 0.1
MAX_DEPTH = 200.0
BINS = 256
# The state that is refined holds (depth - MAX_DEPTH) / STATE_SCALE.
STATE_SCALE = 100.0
MIN_KAPPA = 0.01
NORMAL_EPSILON = 1e-10


class DepthBins(nn.Module):
    """Bin logits (B, BINS, H, W) into the state's depth (B, 1, H, W): the expectation over log-spaced bins."""

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        log_centres = torch.linspace(math.log(MIN_DEPTH), math.log(MAX_DEPTH), BINS)
        self.register_buffer("centres", log_centres.exp().view(1, BINS, 1, 1), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """The state's depth."""
        depth = (logits.softmax(dim=1) * self.centres).sum(dim=1, keepdim=True)
        return (depth.clamp(MIN_DEPTH, MAX_DEPTH) - MAX_DEPTH) / STATE_SCALE


class UnitNormal(nn.Module):
    """A direction and a raw concentration (B, 4, H, W) into a unit normal and a positive kappa."""

    def forward(self, raw: Tensor) -> Tensor:
        """Unit normal and kappa (B, 4, H, W)."""
        direction, raw_kappa = raw[:, :3], raw[:, 3:]
        length = (direction * direction).sum(dim=1, keepdim=True).sqrt() + NORMAL_EPSILON
        return torch.cat([direction / length, functional.elu(raw_kappa) + (1 + MIN_KAPPA)], dim=1)


class RaftDpt(nn.Module):
    """Tokens to depth, confidence and normals.

    Parameters
    ----------
    width : channels of a token.
    hidden : channels of the recurrent units.
    iterations : refinements.
    """

    def __init__(self, width: int, hidden: int, iterations: int) -> None:
        super().__init__()
        features = width // 4
        self.iterations = iterations
        self.token2feature = TokenToFeature(width)
        self.decoder_mono = DptFusion(width)
        self.depth_regressor = nn.Sequential(
            nn.Conv2d(features, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, BINS, 1)
        )
        self.normal_predictor = nn.Sequential(
            nn.Conv2d(features, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 1),
            nn.ReLU(),
            nn.Conv2d(128, 128, 1),
            nn.ReLU(),
            nn.Conv2d(128, 3, 1),
        )
        self.context_feature_encoder = ContextEncoder(width, hidden)
        self.context_zqr_convs = nn.ModuleList(nn.Conv2d(hidden, 3 * hidden, 3, padding=1) for _ in range(3))
        self.update_block = UpdateBlock(hidden)
        self.depth_bins = DepthBins()
        self.unit_normal = UnitNormal()
        self.upsampling = ConvexUpsampling()

    def forward(self, tokens: PatchTokens) -> CanonicalPrediction:
        """The last refinement at full size."""
        *_, (state, finest_hidden) = self._refinements(tokens)
        return self._prediction(state, finest_hidden)

    def refinements(self, tokens: PatchTokens) -> list[CanonicalPrediction]:
        """Every refinement at full size, the last one last."""
        return [self._prediction(state, hidden) for state, hidden in self._refinements(tokens)]

    def _refinements(self, tokens: PatchTokens) -> Iterator[tuple[Tensor, Tensor]]:
        pyramid = rectify_fused_levels(self.token2feature(tokens))
        state = self._first_state(pyramid)
        hidden, context = self.context_feature_encoder(pyramid)
        gates = [conv(map_).chunk(3, dim=1) for conv, map_ in zip(self.context_zqr_convs, context, strict=True)]
        for _ in range(self.iterations):
            hidden = self.update_block(hidden, gates, state)
            state = state + self.update_block.flow_head(hidden[0])
            yield state, hidden[0]

    def _first_state(self, pyramid: FeaturePyramid) -> Tensor:
        """Depth, depth confidence, unit normal and kappa (B, 6, H / 4, W / 4) before any refinement."""
        fused = self.decoder_mono(pyramid)
        features, depth_confidence, normal_confidence = fused[:, :-2], fused[:, -2:-1], fused[:, -1:]
        depth = self.depth_bins(self.depth_regressor(features))
        normal = self.unit_normal(torch.cat([self.normal_predictor(features), normal_confidence], dim=1))
        return torch.cat([depth, depth_confidence, normal], dim=1)

    def _prediction(self, state: Tensor, finest_hidden: Tensor) -> CanonicalPrediction:
        full = self.upsampling(state, self.update_block.mask_logits(finest_hidden))
        return CanonicalPrediction(
            depth=(full[:, :1] * STATE_SCALE + MAX_DEPTH).clamp(MIN_DEPTH, MAX_DEPTH),
            confidence=full[:, 1:2],
            normal_kappa=self.unit_normal(full[:, 2:]),
        )
