from __future__ import annotations

import numpy as np
import pytest

from metric3d_ros.datasets.simulated.lookup import look_up

RAMP = (10.0 * np.arange(8)[:, None] + np.arange(16)[None, :]).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 4096])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bilinear_values_of_any_number_of_places(count: int, kind: type) -> None:
    rng = np.random.default_rng(count)
    column, row = rng.uniform(0, 15, count).astype(kind), rng.uniform(0, 7, count).astype(kind)
    values = look_up(RAMP, column, row, outside=0.0)
    assert values.shape == (count,)
    np.testing.assert_allclose(values, 10.0 * row + column, atol=0.4)


def test_channels_stay_last_and_nearest_picks_one_cell() -> None:
    layer = np.dstack([RAMP, -RAMP]).astype(np.float32)
    values = look_up(layer, np.array([2.2]), np.array([3.4]), nearest=True)
    np.testing.assert_array_equal(values, [[32.0, -32.0]])


def test_off_the_map_is_outside_or_wraps() -> None:
    far = np.array([100.0])
    assert look_up(RAMP, far, far, nearest=True, outside=-5.0)[0] == -5.0
    assert look_up(RAMP, np.array([17.0]), np.array([9.0]), nearest=True)[0] == RAMP[1, 1]
