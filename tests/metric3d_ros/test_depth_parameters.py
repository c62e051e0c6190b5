"""What of the depth node's tuning goes on when another value of it changes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metric3d_ros.engines.engine import DepthEngine, ModelInfo
from metric3d_ros.errors import CameraError
from metric3d_ros.ros.depth_parameters import DepthTuning, refusal_of

# The tuning asks an engine for nothing but its model's description.
ENGINE = cast("DepthEngine", cast("Any", SimpleNamespace(model=ModelInfo("any", 64, 32, min_confidence=0.5))))
TUNING = DepthTuning(rectified=True, max_depth_m=80.0, min_confidence=None, camera_height_m=1.5)


def test_readings_of_a_height_outlive_other_changes():
    before = TUNING.estimator(ENGINE)
    nearer = replace(TUNING, max_depth_m=20.0, min_confidence=0.3).estimator(ENGINE, before)
    assert nearer is not before
    assert nearer.camera_height is not None
    assert nearer.camera_height is before.camera_height


def test_another_height_begins_anew():
    before = TUNING.estimator(ENGINE)
    higher = replace(TUNING, camera_height_m=1.7).estimator(ENGINE, before)
    assert higher.camera_height is not None
    assert higher.camera_height is not before.camera_height
    assert higher.camera_height.height_m == 1.7
    assert replace(TUNING, camera_height_m=None).estimator(ENGINE, before).camera_height is None


def test_a_new_engine_begins_anew():
    assert TUNING.estimator(ENGINE).camera_height is not TUNING.estimator(ENGINE).camera_height


def test_a_headroom_between_none_and_the_models_own_is_refused():
    assert refusal_of([SimpleNamespace(name="headroom_deg", value=-0.5)]) == (
        "headroom_deg -0.5 is below 0; give 0 for none, or -1 for the model's own."
    )
    assert not refusal_of([SimpleNamespace(name="headroom_deg", value=value) for value in (-1.0, 0.0, 6.0)])


def test_a_height_below_the_ground_is_refused():
    with pytest.raises(CameraError, match="-1 m is not above the ground"):
        replace(TUNING, camera_height_m=-1.0).estimator(ENGINE)
