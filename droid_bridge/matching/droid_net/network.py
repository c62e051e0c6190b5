"""DROID-SLAM's network (Teed and Deng, NeurIPS 2021), with the parameter names of its published weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from droid_bridge.matching.droid_net.encoder import Encoder
from droid_bridge.matching.droid_net.update import CONTEXT_CHANNELS, HIDDEN_CHANNELS, UpdateOperator

FEATURE_CHANNELS = 128
_MEAN_RGB = (0.485, 0.456, 0.406)
_STD_RGB = (0.229, 0.224, 0.225)


class DroidNet(nn.Module):
    """The encoders and the update operator; 4,002,565 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(FEATURE_CHANNELS, has_norm=True)
        self.cnet = Encoder(HIDDEN_CHANNELS + CONTEXT_CHANNELS, has_norm=False)
        self.update = UpdateOperator()

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is kept of images.

        Parameters
        ----------
        images : (N, 3, height, width) from ``normalised``; sides are multiples of 8.

        Returns
        -------
        features, first hidden state and context, each (N, 128, height/8, width/8).
        """
        hidden, context = self.cnet(images).split([HIDDEN_CHANNELS, CONTEXT_CHANNELS], dim=1)
        return self.fnet(images), torch.tanh(hidden), torch.relu(context)


def normalised(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """A uint8 (height, width, 3) RGB image as float32 (1, 3, height, width) with ImageNet's mean and deviation."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float() / 255
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (_MEAN_RGB, _STD_RGB))
    return (pixels - mean) / std


def own_coords(rows: int, columns: int, device: torch.device) -> Tensor:
    """Column and row of every cell, float32 (2, rows, columns)."""
    v, u = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([u, v]).float()
