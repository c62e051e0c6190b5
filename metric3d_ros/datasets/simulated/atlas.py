"""All textures of a world in one image with their mip levels, so that one lookup serves every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.datasets.simulated.lookup import look_up

_PAD_PX = 2
_SMALLEST_LEVEL_PX = 4


@dataclass(frozen=True)
class Texture:
    """One square tile: uint8 (size, size, 4), the square root of linear albedo, and opacity.

    ``size_m`` is what one side of the tile measures in the world; ``repeats`` says whether it tiles.
    """

    rgba: NDArray[np.uint8]
    size_m: float
    repeats: bool = True


@dataclass(frozen=True)
class Atlas:
    """Mip-mapped textures side by side.

    Attributes
    ----------
    image : uint8 (rows, columns, 4).
    alpha : uint8 (rows, columns), its last channel.
    left, top : float32 (textures, levels), pixel of each tile's first texel.
    size_px : float32 (textures, levels).
    last_level : int32 (textures,).
    size_m : float32 (textures,).
    repeats : bool (textures,).
    index : texture name to number.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    left: NDArray[np.float32]
    top: NDArray[np.float32]
    size_px: NDArray[np.float32]
    last_level: NDArray[np.int32]
    size_m: NDArray[np.float32]
    repeats: NDArray[np.bool_]
    index: dict[str, int]

    def sample(
        self,
        texture: NDArray[np.int32],
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        level: NDArray[np.float32],
        smooth: bool = True,
    ) -> NDArray[np.float32]:
        """Linear albedo and opacity (4, n) at tile coordinates (u to the right, v down, 1 per tile).

        Bilinear within a mip level, and also between levels if ``smooth``.
        """
        repeats = np.take(self.repeats, texture)
        u = np.where(repeats, u - np.floor(u), np.clip(u, 0.0, 1.0))
        v = np.where(repeats, v - np.floor(v), np.clip(v, 0.0, 1.0))
        last = np.take(self.last_level, texture)
        level = np.clip(level, 0.0, last.astype(np.float32))
        fine = level.astype(np.int32) if smooth else np.rint(level).astype(np.int32)
        texels = self._bilinear(texture, u, v, fine)
        sampled = np.empty((4, len(u)), dtype=np.float32)
        if smooth:
            coarser = self._bilinear(texture, u, v, np.minimum(fine + 1, last))
            share = level - fine.astype(np.float32)
            for channel in range(4):
                at_fine = texels[:, channel].astype(np.float32)
                sampled[channel] = at_fine + share * (coarser[:, channel] - at_fine)
        else:
            sampled[:] = texels.T
        sampled *= np.float32(1.0 / 255.0)
        sampled[:3] *= sampled[:3]
        return sampled

    def opacity(
        self,
        texture: NDArray[np.int32],
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        level: NDArray[np.int32],
    ) -> NDArray[np.uint8]:
        """Nearest opacity (n,) of tiles that do not repeat, or of repeating ones after wrapping."""
        level = np.minimum(level, self.last_level[texture])
        flat = texture * self.left.shape[1] + level
        size = np.take(self.size_px, flat)
        column = (np.take(self.left, flat) + (u - np.floor(u)) * size).astype(np.int32)
        row = (np.take(self.top, flat) + (v - np.floor(v)) * size).astype(np.int32)
        return np.asarray(np.take(self.alpha, row * np.int32(self.alpha.shape[1]) + column))

    def _bilinear(
        self,
        texture: NDArray[np.int32],
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        level: NDArray[np.int32],
    ) -> NDArray[np.uint8]:
        flat = texture * self.left.shape[1] + level
        size = np.take(self.size_px, flat)
        x = np.take(self.left, flat) + u * size - np.float32(0.5)
        y = np.take(self.top, flat) + v * size - np.float32(0.5)
        return look_up(self.image, x, y)


def pack(textures: dict[str, Texture]) -> Atlas:
    """The atlas of named textures; sizes are powers of two."""
    strips = []
    tables: list[list[tuple[int, int, int]]] = []
    top = 0
    for texture in textures.values():
        levels = _mip_levels(texture.rgba)
        mode = "wrap" if texture.repeats else "edge"
        padded = [np.pad(level, ((_PAD_PX, _PAD_PX), (_PAD_PX, _PAD_PX), (0, 0)), mode=mode) for level in levels]  # type: ignore[call-overload]
        strip = np.zeros((padded[0].shape[0], sum(p.shape[1] for p in padded), 4), dtype=np.uint8)
        left = 0
        table = []
        for level, with_border in zip(levels, padded, strict=True):
            strip[: with_border.shape[0], left : left + with_border.shape[1]] = with_border
            table.append((left + _PAD_PX, top + _PAD_PX, level.shape[0]))
            left += with_border.shape[1]
        strips.append(strip)
        tables.append(table)
        top += strip.shape[0]
    width = max(strip.shape[1] for strip in strips)
    image = np.vstack([np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in strips])
    most = max(len(table) for table in tables)
    filled = np.array([table + [table[-1]] * (most - len(table)) for table in tables], dtype=np.float32)
    return Atlas(
        image=image,
        alpha=np.ascontiguousarray(image[..., 3]),
        left=filled[..., 0].copy(),
        top=filled[..., 1].copy(),
        size_px=filled[..., 2].copy(),
        last_level=np.array([len(table) - 1 for table in tables], dtype=np.int32),
        size_m=np.array([t.size_m for t in textures.values()], dtype=np.float32),
        repeats=np.array([t.repeats for t in textures.values()], dtype=np.bool_),
        index={name: i for i, name in enumerate(textures)},
    )


def _mip_levels(rgba: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    levels = [rgba]
    while levels[-1].shape[0] > _SMALLEST_LEVEL_PX:
        half = levels[-1].shape[0] // 2
        levels.append(
            np.asarray(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        )
    return levels
