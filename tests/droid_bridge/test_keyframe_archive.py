from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from droid_bridge.errors import DroidBridgeError
from droid_bridge.keyframe_archive import KeyframeArchive
from droid_bridge.keyframe_record import KeyframeRecord
from droid_bridge.place_recognition import extract_features
from metric3d_ros.camera import PinholeCamera

CAMERA = PinholeCamera(width_px=160, height_px=96, fx=100, fy=100, cx=79.5, cy=47.5)


def record(seed: int = 0) -> KeyframeRecord:
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.01, 0.5, (12, 20)).astype(np.float32)
    sigma[0, 0], sigma[0, 1] = np.inf, 1e6
    smooth = np.kron(rng.integers(0, 255, (12, 20)), np.ones((8, 8))).astype(np.uint8)
    return KeyframeRecord(
        frame_index=3 * seed,
        stamp_ns=seed,
        camera_from_world=np.eye(4),
        inverse_depth=rng.uniform(0.003, 2, (12, 20)).astype(np.float32),
        inverse_depth_sigma=sigma,
        gray=smooth,
        rgb=rng.integers(0, 255, (12, 20, 3)).astype(np.uint8),
        log_scale=0.1,
        working_camera=CAMERA,
    )


def added(archive: KeyframeArchive, one: KeyframeRecord):
    return archive.add(one, 1.5, extract_features(one.gray, 50))


def test_a_keyframe_comes_back_to_three_digits(tmp_path: Path) -> None:
    with KeyframeArchive(tmp_path) as archive:
        one = record(2)
        kept = added(archive, one)
        assert archive[kept.number] is kept
        assert (kept.frame_index, kept.travelled_m, kept.log_scale) == (6, 1.5, 0.1)
        np.testing.assert_allclose(kept.inverse_depth, one.inverse_depth, rtol=1e-3)
        np.testing.assert_allclose(kept.inverse_depth_sigma[1:], one.inverse_depth_sigma[1:], rtol=1e-3)
        assert np.isinf(kept.inverse_depth_sigma[0, :2]).all()
        assert np.abs(archive.gray(kept.number).astype(int) - one.gray).mean() < 2
        assert archive.working_camera == CAMERA


def test_numbers_stay_when_others_go_and_so_does_the_disk(tmp_path: Path) -> None:
    archive = KeyframeArchive(tmp_path)
    numbers = [added(archive, record(k)).number for k in range(4)]
    archive.drop(numbers[1])
    assert [keyframe.number for keyframe in archive] == [0, 2, 3]
    assert added(archive, record(9)).number == 4
    assert len(list(tmp_path.rglob("*.jpg"))) == 4
    archive.close()
    archive.close()
    assert not list(tmp_path.iterdir())


def test_what_disk_and_user_do_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(DroidBridgeError, match="TMPDIR"):
        KeyframeArchive(tmp_path / "absent")
    with KeyframeArchive(tmp_path) as archive:
        with pytest.raises(DroidBridgeError, match="no camera yet"):
            _ = archive.working_camera
        number = added(archive, record()).number
        for image in tmp_path.rglob("*.jpg"):
            image.unlink()
        with pytest.raises(DroidBridgeError, match="keyframe 0 is gone"):
            archive.gray(number)
