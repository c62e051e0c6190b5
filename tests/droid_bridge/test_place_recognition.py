from __future__ import annotations

import numpy as np
from closed_loop import EXTRA_FRAMES, tracked_loop

from droid_bridge.place_recognition import PlaceIndex, Vocabulary, extract_features


def noisy_descriptors(rng: np.random.Generator, centres: np.ndarray, each: int, flips: float) -> np.ndarray:
    bits = np.unpackbits(np.repeat(centres, each, axis=0), axis=1)
    return np.packbits(bits ^ (rng.random(bits.shape) < flips), axis=1)


def test_clusters_of_descriptors_become_words() -> None:
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (20, 32), dtype=np.uint8)
    descriptors = noisy_descriptors(rng, centres, 50, 0.05)
    vocabulary = Vocabulary.learn(descriptors, 40)
    members = vocabulary.words_of(descriptors).reshape(20, 50)
    words_of_centre = [set(row) for row in members]
    for k, words in enumerate(words_of_centre):
        assert all(words.isdisjoint(other) for other in words_of_centre[k + 1 :]), "no word serves two centres"
    again = Vocabulary.learn(descriptors, 40)
    np.testing.assert_array_equal(again.words_of(descriptors), members.ravel())


def test_an_image_without_corners_has_no_features_and_no_words() -> None:
    features = extract_features(np.full((96, 160), 90, np.uint8), 50)
    assert features.points_px.shape == (0, 2)
    vocabulary = Vocabulary(np.zeros((4, 32), np.uint8))
    assert vocabulary.histogram(features.descriptors).tolist() == [0, 0, 0, 0]


def test_features_are_spread_over_the_image() -> None:
    rng = np.random.default_rng(1)
    gray = np.full((240, 800), 100, np.uint8)
    gray[:, :] += rng.integers(0, 8, gray.shape).astype(np.uint8)
    gray[:120, :200] = np.kron(rng.integers(0, 2, (30, 50)) * 255, np.ones((4, 4))).astype(np.uint8)
    gray[120:, 600:] = np.kron(rng.integers(0, 2, (30, 50)) * 60 + 90, np.ones((4, 4))).astype(np.uint8)
    points = extract_features(gray, 320).points_px
    assert len(points) <= 320
    assert ((points[:, 0] > 600) & (points[:, 1] > 120)).sum() > 20, "strong corners elsewhere do not take all"


def test_a_common_word_says_less_than_a_rare_one() -> None:
    index = PlaceIndex(4)
    for number, histogram in enumerate(([5, 2, 0, 0], [5, 0, 2, 0], [5, 0, 0, 2])):
        index.add(number, np.array(histogram, np.uint8))
    numbers, similarity = index.similarities(np.array([5, 0, 2, 0], np.uint8))
    assert numbers[similarity.argmax()] == 1
    assert similarity.max() <= 1 + 1e-6
    assert similarity[0] < 0.5 * similarity[1]
    index.remove(1)
    assert index.similarities(np.array([5, 0, 2, 0], np.uint8))[0].tolist() == [0, 2]


def test_the_second_visit_looks_like_the_first() -> None:
    loop = tracked_loop()
    features = [extract_features(record.gray, 500) for record in loop.records]
    vocabulary = Vocabulary.learn(np.concatenate([f.descriptors for f in features[:40]]), 1024)
    index = PlaceIndex(len(vocabulary))
    positions = np.stack([loop.truth[record.frame_index][:3, 3] for record in loop.records])
    hits = visits = 0
    for k, record in enumerate(loop.records):
        histogram = vocabulary.histogram(features[k].descriptors)
        if record.frame_index >= len(loop.truth) - EXTRA_FRAMES + 3:
            numbers, similarity = index.similarities(histogram)
            best = numbers[np.argsort(-np.where(numbers < k - 30, similarity, -1))[:3]]
            visits += 1
            hits += np.linalg.norm(positions[best] - positions[k], axis=1).min() < 4
        index.add(k, histogram)
    assert visits > 10
    assert hits >= 0.9 * visits
