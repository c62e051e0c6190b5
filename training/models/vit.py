"""The encoder of Metric3D v2: a DINOv2 vision transformer with register tokens, under its official names.

Sources: Dosovitskiy et al. 2021 (ViT), Oquab et al. 2024 (DINOv2), Darcet et al. 2024 (registers), Shazeer 2020
(SwiGLU), Touvron et al. 2021 (LayerScale).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH_PX = 14
REGISTERS = 4
# The size DINOv2 was trained at, which fixes the grid of its positional embedding.
TRAINED_ROWS = 37
# DINOv2 adds this to the patch count before it divides, and samples with the quotient as its scale.
POSITION_OFFSET = 0.1
NORM_EPSILON = 1e-6
LEVELS = 4


class PatchTokens(NamedTuple):
    """What the decoder reads.

    Attributes
    ----------
    levels : four tensors (B, 1 + REGISTERS + rows * columns, width): class token, registers, patches row by row.
    rows, columns : the patch grid.
    """

    levels: tuple[Tensor, ...]
    rows: int
    columns: int


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, width) of the same shape."""
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return mixed


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same shape."""
        mixed: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return mixed


class SwiGlu(nn.Module):
    """A gated layer; its inner width is 8/3 of the outer one, rounded up to a multiple of eight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner_width = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * inner_width)
        self.w3 = nn.Linear(inner_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same shape."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        mixed: Tensor = self.w3(functional.silu(gate) * value)
        return mixed


class LayerScale(nn.Module):
    """One learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same shape."""
        return x * self.gamma


class Block(nn.Module):
    """Attention and a feed-forward layer, both behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = SwiGlu(width) if gated else Mlp(width)
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the same shape."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        mixed: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return mixed


class VisionTransformer(nn.Module):
    """DINOv2 with registers.

    Parameters
    ----------
    width, depth, heads : channels of a token, blocks, attention heads.
    gated : SwiGLU instead of the MLP.
    output_depths : the number of blocks after which each of the four outputs is taken, un-normed; None takes the
        final, normed tokens four times.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        gated: bool = False,
        output_depths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.output_depths = output_depths
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + TRAINED_ROWS**2, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, REGISTERS, width))
        # Stands for hidden patches in DINOv2's own training; no depth network uses it, but the state dict has it.
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH_PX, PATCH_PX)})
        # The official names come from a list of one chunk that holds every block.
        self.blocks = nn.ModuleList([nn.ModuleList(Block(width, heads, gated) for _ in range(depth))])
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self._folded_position: dict[tuple[int, int], Tensor] = {}

    def forward(self, image: Tensor) -> PatchTokens:
        """Tokens of normalised images (B, 3, H, W), resized up to multiples of 14 where they are none."""
        rows, columns = (-(-side // PATCH_PX) for side in image.shape[-2:])
        if image.shape[-2:] != (rows * PATCH_PX, columns * PATCH_PX):
            image = functional.interpolate(
                image, (rows * PATCH_PX, columns * PATCH_PX), mode="bilinear", align_corners=False
            )
        tokens = self._embed(image, rows, columns)
        return PatchTokens(self._levels(tokens), rows, columns)

    def fold_position(self, rows: int, columns: int) -> None:
        """Keep the positional embedding of one patch grid, so that an exported graph holds it as a constant."""
        with torch.no_grad():
            self._folded_position = {(rows, columns): self.position_embedding(rows, columns).clone()}

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """Positional embedding (1, 1 + rows * columns, width) of the class token and a grid of patches.

        Bicubic, with the offset scale itself as the step between samples, as DINOv2 does it: a resize to the
        grid's size samples elsewhere and changes depth by metres.
        """
        if rows == columns == TRAINED_ROWS:
            return self.pos_embed
        trained = self.pos_embed[:, 1:].reshape(1, TRAINED_ROWS, TRAINED_ROWS, -1).permute(0, 3, 1, 2)
        grid = functional.interpolate(
            trained,
            scale_factor=((rows + POSITION_OFFSET) / TRAINED_ROWS, (columns + POSITION_OFFSET) / TRAINED_ROWS),
            mode="bicubic",
            align_corners=False,
        )
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def _embed(self, image: Tensor, rows: int, columns: int) -> Tensor:
        patches = self.patch_embed["proj"](image).flatten(2).transpose(1, 2)
        batch = image.shape[0]
        position = self._folded_position.get((int(rows), int(columns)))
        if position is None:
            position = self.position_embedding(rows, columns)
        class_token = (self.cls_token + position[:, :1]).expand(batch, -1, -1)
        registers = self.register_tokens.expand(batch, -1, -1)
        return torch.cat([class_token, registers, patches + position[:, 1:]], dim=1)

    def _levels(self, tokens: Tensor) -> tuple[Tensor, ...]:
        levels = []
        chunk = self.blocks[0]
        assert isinstance(chunk, nn.ModuleList)
        for done, block in enumerate(chunk, start=1):
            tokens = block(tokens)
            if self.output_depths is not None and done in self.output_depths:
                levels.append(tokens)
        if self.output_depths is None:
            return (self.norm(tokens),) * LEVELS
        return tuple(levels)
