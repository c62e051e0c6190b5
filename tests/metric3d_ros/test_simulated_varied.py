from __future__ import annotations

import numpy as np
import pytest
from any_texture import AnyTexture

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated import SimulatedDrive, StreetWorld, render, sample_view
from metric3d_ros.datasets.simulated.atlas import Texture
from metric3d_ros.datasets.simulated.camera_path import is_inside_any
from metric3d_ros.datasets.simulated.furniture import put_person
from metric3d_ros.datasets.simulated.overhead import put_bridge, put_gantry
from metric3d_ros.datasets.simulated.repaint import repainted
from metric3d_ros.datasets.simulated.road_surface import COVERS, cover_ground
from metric3d_ros.datasets.simulated.roadside import ROADSIDE_PLOTS, plant_crowns
from metric3d_ros.datasets.simulated.street_plan import StreetPlan, overhead_share
from metric3d_ros.datasets.simulated.styles import STYLES
from metric3d_ros.datasets.simulated.surfaces import Obstacle, SurfaceBuilder
from metric3d_ros.datasets.simulated.vehicles import SHAPES_ON_ANY_ROAD, put_lorry
from metric3d_ros.datasets.simulated.weather import any_weather
from metric3d_ros.datasets.simulated.world import _plan, street_line
from metric3d_ros.errors import DatasetError

CAMERA = PinholeCamera(width_px=320, height_px=120, fx=190.0, fy=190.0, cx=158.3, cy=57.6)


def _plan_of(seed: int, setting: str) -> StreetPlan:
    line = street_line(seed, 60.0, closed_loop=False)
    return _plan(line, STYLES["varied"].profile(np.random.default_rng(seed), setting, line))


@pytest.fixture(scope="module", params=STYLES["varied"].settings)
def world(request: pytest.FixtureRequest) -> StreetWorld:
    number = STYLES["varied"].settings.index(request.param)
    return StreetWorld.generate(50 + number, 20.0, setting=request.param, traffic=True, style="varied")


def test_every_setting_can_be_driven_through_and_seen(world: StreetWorld) -> None:
    rng = np.random.default_rng(0)
    for _ in range(4):
        pose = sample_view(rng, world, CAMERA, (1.5, 1.7))
        x, y, z = pose[:3, 3]
        assert 1.5 - 1e-9 <= z - world.terrain.height_m(x, y) <= 1.7 + 1e-9
        assert not is_inside_any(world.obstacles, (x, y, z), 0.5)
        rgb, depth_m = render(world, CAMERA, pose, seed=1)
        assert (depth_m[np.isfinite(depth_m)] > 0).all()
        assert np.isfinite(depth_m).mean() > 0.3
        assert rgb.std() > 4.0


@pytest.mark.parametrize("seed", range(4))
def test_a_varied_drive_runs_through_nothing(seed: int) -> None:
    drive = SimulatedDrive(seed=seed, length_m=30.0, camera=CAMERA, style="varied")
    for pose in drive.world_from_camera:
        assert not is_inside_any(drive.world.obstacles, tuple(pose[:3, 3]), 0.4)


def test_a_wide_street_that_ends_in_a_bend_has_no_room_inside_it() -> None:
    """The inner edge of this one's last plot is shorter than a bush; it was a crash once."""
    world = StreetWorld.generate(262492, 120.0, style="varied")
    assert world.setting == "avenue" and len(world.patches) > 1000


def test_plain_is_what_a_world_is_unless_asked() -> None:
    one, other = (StreetWorld.generate(3, 20.0, **style) for style in ({}, {"style": "plain"}))
    assert one.terrain.is_level and one.overhead is None
    np.testing.assert_array_equal(one.patches.origin, other.patches.origin)
    np.testing.assert_array_equal(one.atlas.image, other.atlas.image)


def test_unknown_styles_and_settings_of_another_style_are_refused() -> None:
    with pytest.raises(DatasetError, match="style 'lunar' is unknown; use one of plain, varied, kerbed, rooms"):
        StreetWorld.generate(1, 20.0, style="lunar")
    with pytest.raises(DatasetError, match="setting 'lane' is unknown; use one of suburban"):
        StreetWorld.generate(1, 20.0, setting="lane")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("put", "clear_m"), [(put_bridge, 4.4), (put_gantry, 4.9)])
def test_what_spans_the_road_leaves_room_for_traffic(put, clear_m: float, seed: int) -> None:  # type: ignore[no-untyped-def]
    builder = SurfaceBuilder(AnyTexture())
    with builder.placed(0.0, 0.0, 0.0):
        put(np.random.default_rng(seed), builder, 6.0)
    corners = builder.build().corners
    over_road = (np.abs(corners[..., 1]) < 5.5).any(axis=1) | (
        (corners[..., 1].min(axis=1) < -5.5) & (corners[..., 1].max(axis=1) > 5.5)
    )
    assert over_road.any()
    assert corners[over_road][..., 2].min() >= clear_m
    for obstacle in builder.obstacles:
        assert abs(obstacle.y) - obstacle.half_width_m >= 5.7


def test_it_is_darker_under_a_bridge_than_beside_it() -> None:
    plan = _plan_of(0, "urban")
    middle = plan.line.points[len(plan.line.points) // 2]
    deck = Obstacle(float(middle[0]), float(middle[1]), 5.0, 15.0, 0.3, 5.0, 6.0)
    share = overhead_share(plan.road_grid, [(deck, 0.75)])
    column, row = np.rint(plan.road_grid.cells(middle)).astype(int)
    assert share[row, column] == pytest.approx(0.75, abs=0.02)
    assert share[row, column + int(20.0 / plan.road_grid.cell_m)] < 0.01


def test_nothing_is_claimed_off_the_plan() -> None:
    plan = _plan_of(0, "urban")
    plot = plan.plot(30.0, 10.0, 0)
    assert plan.claim(plot, (0.0, 2.0), (4.0, 6.0))
    assert not plan.claim(plot, (0.0, 2.0), (4.0, 6.0))
    for far_m in (-1e4, 1e4):
        assert not plan.claim(plot, (far_m, 2.0), (far_m + 4.0, 6.0))


def test_crowns_close_over_the_road_but_hang_above_it() -> None:
    plan = _plan_of(1, "avenue")
    builder = SurfaceBuilder(AnyTexture())
    plant_crowns(np.random.default_rng(0), builder, plan, 20.0, 80.0)
    patches = builder.build()
    leaves = patches.cut_out
    assert patches.corners[leaves][..., 2].min() > 3.4
    middles = patches.corners[leaves].mean(axis=1)
    nearest_m = np.linalg.norm(middles[:, None, :2] - plan.line.points[None, ::8], axis=2).min(axis=1)
    assert (nearest_m < 0.5 * plan.profile.lane_m).any()


def test_a_side_road_breaks_kerb_and_pavement() -> None:
    for seed in range(200, 260):
        world = StreetWorld.generate(seed, 5.0, setting="boulevard", style="varied")
        rows, columns = np.nonzero(world.cover == COVERS.index("side_road"))
        if len(rows):
            break
    x = (world.cover_grid.x0 + columns * world.cover_grid.cell_m).astype(np.float32)
    y = (world.cover_grid.y0 + rows * world.cover_grid.cell_m).astype(np.float32)
    ground = cover_ground(world, x, y, np.full(len(x), 0.02, dtype=np.float32))
    assert (ground.texture == world.atlas.index["asphalt"]).mean() > 0.95


def test_a_wide_road_has_dashes_between_its_lanes() -> None:
    for seed in range(100, 160):
        world = StreetWorld.generate(seed, 5.0, setting="boulevard", style="varied")
        if world.profile.dashes > 0 and not world.profile.edge_lines:
            break
    assert world.profile.lanes == 2
    stations = np.linspace(10.0, 60.0, 400)
    painted = {}
    for share in (0.0, 0.25, 0.5, 0.75):
        points, _ = world.line.at(stations, share * world.profile.lane_m)
        x, y = points.astype(np.float32).T
        painted[share] = cover_ground(world, x, y, np.full(len(x), 0.02, dtype=np.float32)).paint.mean()
    assert painted[0.0] > 0.1 and painted[0.5] > 0.1
    assert painted[0.25] < 0.02 and painted[0.75] < 0.02


def test_people_cars_and_lorries_have_their_sizes() -> None:
    rng = np.random.default_rng(0)
    builder = SurfaceBuilder(AnyTexture())
    for _ in range(200):
        put_person(rng, builder)
    tall_m = [obstacle.top_m for obstacle in builder.obstacles]
    assert min(tall_m) >= 1.2 and max(tall_m) <= 1.95 and 1.65 < np.mean(tall_m) < 1.78
    builder = SurfaceBuilder(AnyTexture())
    put_lorry(rng, builder)
    (lorry,) = builder.obstacles
    assert 6.0 < 2 * lorry.half_length_m < 12.5 and 2.2 < 2 * lorry.half_width_m < 2.6 and 2.8 < lorry.top_m < 4.0
    for shape in SHAPES_ON_ANY_ROAD:
        assert 3.4 < shape.length_m < 6.0 and 1.55 < shape.width_m < 2.1 and 1.4 < shape.height_m < 2.7
        xs, zs = np.array(shape.outline).T
        assert np.ptp(xs) == pytest.approx(shape.length_m, abs=0.02) and zs.max() == shape.height_m


def test_repainting_changes_grain_and_colour_but_no_size_that_is_known() -> None:
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    names = ("asphalt", "brick", "flank_saloon", "variation", "leaves_a")
    changed = repainted(rng, {name: Texture(rgba, 2.0) for name in names})
    for name in names:
        np.testing.assert_array_equal(changed[name].rgba[..., 3], rgba[..., 3])
        assert (changed[name].rgba[..., :3] != rgba[..., :3]).any()
        assert (changed[name].size_m != 2.0) == (name == "asphalt")
    mean = changed["variation"].rgba[..., :3].mean()
    assert mean == pytest.approx(rgba[..., :3].mean(), abs=12.0), "stains brighten nothing on average"


def test_weather_ranges_from_no_sun_to_a_low_one() -> None:
    lights = [any_weather(np.random.default_rng(seed)) for seed in range(60)]
    heights = np.array([light.sun_direction[2] for light in lights])
    suns = np.array([light.sun_rgb.max() for light in lights])
    assert heights.min() < np.sin(np.radians(24.0)) and heights.max() > np.sin(np.radians(45.0))
    assert (suns < 0.5).mean() > 0.2 and (suns > 3.0).mean() > 0.3
    for light in lights:
        assert np.linalg.norm(light.sun_direction) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["hedgerow", "thicket", "open", "junction"])
def test_new_plots_keep_off_the_road(kind: str) -> None:
    plan = _plan_of(2, "country")
    builder = SurfaceBuilder(AnyTexture())
    with builder.placed(0.0, 0.0, 0.0):
        builder.patch((0, 0, -9), (1, 0, 0), (0, 0, 1), "paint")
    for side in (0, 1):
        ROADSIDE_PLOTS[kind](np.random.default_rng(0), builder, plan, plan.plot(40.0, 20.0, side))
    for obstacle in builder.obstacles:
        if obstacle.bottom_m < 2.5:
            assert plan.keeps_off_road(np.array([[obstacle.x, obstacle.y]]), 0.0)


def test_kerbed_pavements_lie_a_step_above_the_road_and_all_else_is_the_varied_street() -> None:
    options = {"seed": 52, "length_m": 20.0, "setting": "suburban"}
    varied, kerbed = (StreetWorld.generate(**options, style=style) for style in ("varied", "kerbed"))
    assert varied.profile == kerbed.profile
    before = len(varied.patches)
    np.testing.assert_array_equal(kerbed.patches.origin[:before], varied.patches.origin)
    added = kerbed.patches.corners[before:]
    x, y = added[..., 0], added[..., 1]
    above_m = added[..., 2] - kerbed.terrain.height_m(x, y)
    # The corner that closes a parallelogram may leave a rolling ground by a little.
    assert 0.05 < np.percentile(above_m, 90) < 0.18
    left = kerbed.road_grid.sample(
        kerbed.road_layers, x.ravel().astype(np.float32), y.ravel().astype(np.float32), 0.0
    )[:, 0]
    kerb_m = min(kerbed.profile.kerb_at_m(side) for side in (0, 1))
    assert np.percentile(np.abs(left), 2) > kerb_m - 0.3
