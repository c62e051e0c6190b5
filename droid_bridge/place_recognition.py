"""Which earlier keyframes look like this one: binary features, a small vocabulary of them, and an index.

Features are ORB (OpenCV), spread over the image. The words are medoids of the descriptors of the first keyframes,
bit by bit (k-majority clustering; Grana et al., 2013): a street looks enough like itself that a vocabulary learnt
in its first minute serves the hour, and none has to be shipped. Images are compared by their words, weighted by
how rare each is (tf-idf, Sivic and Zisserman, ICCV 2003). What looks alike is a candidate: geometry decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_PYRAMID_LEVELS = 4
_PYRAMID_FACTOR = 1.3
_FAST_THRESHOLD = 10
_TILES = (4, 8)  # rows, columns
_DETECTED_PER_KEPT = 3
_CLUSTERING_ROUNDS = 8


@dataclass(frozen=True)
class PlaceOptions:
    """How places are described and compared.

    Attributes
    ----------
    features : features kept of an image.
    words : size of the vocabulary.
    training_keyframes : keyframes that the vocabulary is learnt from; nothing is found before.
    """

    features: int = 500
    words: int = 1024
    training_keyframes: int = 40


@dataclass(frozen=True)
class LocalFeatures:
    """Corners of an image.

    Attributes
    ----------
    points_px : float32 (n, 2) column and row.
    descriptors : uint8 (n, 32).
    """

    points_px: NDArray[np.float32]
    descriptors: NDArray[np.uint8]


NO_FEATURES = LocalFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))


def extract_features(gray: NDArray[np.uint8], count: int) -> LocalFeatures:
    """At most ``count`` features of a gray image, the strongest of each tile, so that no hedge takes them all."""
    detector = cv2.ORB.create(
        nfeatures=_DETECTED_PER_KEPT * count,
        scaleFactor=_PYRAMID_FACTOR,
        nlevels=_PYRAMID_LEVELS,
        fastThreshold=_FAST_THRESHOLD,
    )
    keypoints, descriptors = detector.detectAndCompute(gray, None)
    if descriptors is None:
        return NO_FEATURES
    points = np.array([keypoint.pt for keypoint in keypoints], dtype=np.float32)
    strength = np.array([keypoint.response for keypoint in keypoints])
    rows, columns = _TILES
    height, width = gray.shape
    tile = (points[:, 1] * rows / height).astype(int) * columns + (points[:, 0] * columns / width).astype(int)
    order = np.lexsort((-strength, tile))
    first = np.searchsorted(tile[order], np.arange(rows * columns))
    rank_in_tile = np.arange(len(order)) - first[tile[order]]
    kept = order[rank_in_tile < -(-count // (rows * columns))]
    return LocalFeatures(points[kept], np.asarray(descriptors[kept], dtype=np.uint8))


class Vocabulary:
    """Binary words; every descriptor is the word nearest to it in Hamming distance."""

    def __init__(self, words: NDArray[np.uint8]) -> None:
        self._words = words
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING)

    def __len__(self) -> int:
        return len(self._words)

    @classmethod
    def learn(cls, descriptors: NDArray[np.uint8], count: int, seed: int = 0) -> Vocabulary:
        """Cluster descriptors (n, 32); the same input gives the same words."""
        rng = np.random.default_rng(seed)
        unique = np.unique(descriptors, axis=0)
        words = unique[rng.permutation(len(unique))[: min(count, len(unique))]]
        for _ in range(_CLUSTERING_ROUNDS):
            vocabulary = cls(words)
            members = vocabulary.words_of(descriptors)
            words = _majorities(descriptors, members, words)
        return cls(words)

    def words_of(self, descriptors: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The word (n,) of each descriptor (n, 32)."""
        matches = self._matcher.match(descriptors, self._words) if len(descriptors) else ()
        return np.array([match.trainIdx for match in matches], dtype=np.int64)

    def histogram(self, descriptors: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """How often each word is among descriptors (n, 32), at most 255."""
        counts = np.bincount(self.words_of(descriptors), minlength=len(self))
        return np.minimum(counts, 255).astype(np.uint8)


def _majorities(
    descriptors: NDArray[np.uint8], members: NDArray[np.int64], words: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Each word moved to the majority of its members, bit by bit; a word without members stays."""
    order = np.argsort(members, kind="stable")
    present, first = np.unique(members[order], return_index=True)
    ones = np.add.reduceat(np.unpackbits(descriptors[order], axis=1).astype(np.int32), first, axis=0)
    size = np.diff(np.append(first, len(order)))
    moved = words.copy()
    moved[present] = np.packbits(2 * ones > size[:, None], axis=1)
    return moved


class PlaceIndex:
    """Word histograms by keyframe number, and how alike they are."""

    def __init__(self, words: int) -> None:
        self._numbers = np.zeros(0, np.int64)
        self._counts = np.zeros((0, words), np.float32)

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, histogram: NDArray[np.uint8]) -> None:
        """Index a keyframe; numbers come in increasing order."""
        self._numbers = np.append(self._numbers, number)
        self._counts = np.concatenate([self._counts, histogram[None].astype(np.float32)])

    def remove(self, number: int) -> None:
        """Forget a keyframe."""
        keep = self._numbers != number
        self._numbers, self._counts = self._numbers[keep], self._counts[keep]

    def similarities(self, histogram: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Numbers and cosine similarities (0 to 1) of all keyframes with a histogram, by rarity-weighted words."""
        if not len(self):
            return self._numbers, np.zeros(0)
        seen_in = np.count_nonzero(self._counts, axis=0)
        rarity = np.log((len(self) + 1) / (seen_in + 1)).astype(np.float32) ** 2
        # A word's weight is the root of its count, so the squared norm is linear in the counts.
        used = np.flatnonzero(histogram)
        query = np.sqrt(histogram[used].astype(np.float32))
        dots = np.sqrt(self._counts[:, used]) @ (rarity[used] * query)
        norms = np.sqrt((self._counts @ rarity) * float(rarity @ histogram.astype(np.float32)))
        return self._numbers, np.asarray(dots / np.maximum(norms, 1e-12), dtype=np.float64)
