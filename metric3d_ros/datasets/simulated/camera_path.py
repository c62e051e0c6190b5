"""How a vehicle carries the camera: a smooth drive along a lane, and single plausible viewpoints."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.simulated.centre_line import CentreLine
from metric3d_ros.datasets.simulated.road_surface import RoadProfile
from metric3d_ros.datasets.simulated.surfaces import Obstacle
from metric3d_ros.datasets.simulated.terrain import Terrain
from metric3d_ros.datasets.simulated.world import StreetWorld
from metric3d_ros.errors import DatasetError

_PATH_STEP_M = 0.1
_CLEARANCE_M = 0.7
_ROOM_CLEARANCE_M = 0.25
_MOST_TRIES = 200

# Cameras of vehicles are mounted level; some are not, on purpose or by accident. Standard deviations.
_LEVEL_SHARE = 0.7
_LEVEL_PITCH_RAD, _TILTED_PITCH_RAD = math.radians(0.6), math.radians(2.0)


def drive_poses(
    rng: np.random.Generator,
    line: CentreLine,
    profile: RoadProfile,
    speed_m_per_s: float,
    rate_hz: float,
    camera_height_m: float,
    terrain: Terrain,
) -> NDArray[np.float64]:
    """Poses world_from_camera (frames, 4, 4) of a drive in the right-hand lane, at about the given speed.

    On a closed line the last frame is within half a frame's way of the first.
    """
    lane = -profile.lane_middle_m
    stations = np.arange(line.start_m, line.end_m + 0.5 * _PATH_STEP_M, _PATH_STEP_M)
    turns = (stations - line.start_m) / (line.end_m - line.start_m)
    offsets = lane + _sway(rng, turns, line.end_m - line.start_m, 0.12, (60.0, 130.0))
    points, _ = line.at(stations, offsets)
    path_m = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    travelled = _travelled(rng, path_m[-1], speed_m_per_s / rate_hz)
    x, y = (np.interp(travelled, path_m, points[:, k]) for k in range(2))
    tangent = np.gradient(points, axis=0)
    if line.closed:
        tangent[0] = tangent[-1] = tangent[0] + tangent[-1]
    heading = np.interp(travelled, path_m, np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0])))
    share = travelled / path_m[-1]
    pitch = _sway(rng, share, path_m[-1], math.radians(0.3), (7.0, 11.0, 37.0))
    roll = _sway(rng, share, path_m[-1], math.radians(0.25), (9.0, 15.0, 41.0))
    height = camera_height_m + _sway(rng, share, path_m[-1], 0.015, (8.0, 13.0)) + terrain.height_m(x, y)
    climb, lean = terrain.tilt_rad(x, y, heading)
    pitch, roll = pitch + climb, roll + lean
    return np.stack([camera_pose(*state) for state in zip(x, y, height, heading, pitch, roll, strict=True)])


def camera_pose(
    x: float, y: float, height_m: float, heading_rad: float, pitch_rad: float = 0.0, roll_rad: float = 0.0
) -> NDArray[np.float64]:
    """world_from_camera (4, 4) of a camera looking along a heading; pitch looks up, roll leans to the right."""
    cosine, sine = math.cos(heading_rad), math.sin(heading_rad)
    level = np.array([[sine, 0.0, cosine], [-cosine, 0.0, sine], [0.0, -1.0, 0.0]])
    cp, sp, cr, sr = math.cos(pitch_rad), math.sin(pitch_rad), math.cos(roll_rad), math.sin(roll_rad)
    pitched = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    rolled = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, :3] = level @ pitched @ rolled
    pose[:3, 3] = (x, y, height_m)
    return pose


def sample_view(
    rng: np.random.Generator,
    world: StreetWorld,
    camera: PinholeCamera,
    camera_height_m: tuple[float, float] = (1.2, 2.2),
) -> NDArray[np.float64]:
    """A random viewpoint, world_from_camera (4, 4), outside every object: of a vehicle, or of a robot in a room.

    In rooms anywhere and in any direction; pitch within 30 and roll within 4 degrees, both mostly much less. On
    streets mostly along the road within 20 degrees, one in ten in any direction; pitch within 5 degrees, mostly
    within 1, and roll within 2; one in eight stands on the pavement. The horizon stays in the picture of
    ``camera``.

    Raises
    ------
    DatasetError
        If no free place was found.
    """
    if world.rooms:
        return _room_view(rng, world, camera_height_m)
    line = world.line
    half_view_rad = math.atan(0.4 * camera.height_px / camera.fy)
    for _ in range(_MOST_TRIES):
        forward = rng.random() < 0.7
        side = 1 if forward else 0
        sign = -1.0 if forward else 1.0
        reach = world.profile.kerb_at_m(side) - 0.9
        if rng.random() < 0.125:
            reach = world.profile.front_at_m(side) - 0.6
        offset = sign * rng.uniform(0.5, reach)
        (point,), (heading,) = line.at(np.array([rng.uniform(line.start_m, line.end_m)]), offset)
        height_m = rng.uniform(*camera_height_m)
        yaw = np.clip(rng.normal(0.0, 0.12), -0.35, 0.35) if rng.random() < 0.9 else rng.uniform(-math.pi, math.pi)
        spread_rad = _LEVEL_PITCH_RAD if rng.random() < _LEVEL_SHARE else _TILTED_PITCH_RAD
        pitch = float(np.clip(rng.normal(0.0, spread_rad), -0.087, 0.087))
        pitch = float(np.clip(pitch, -half_view_rad, half_view_rad))
        roll = float(np.clip(rng.normal(0.0, 0.012), -0.035, 0.035))
        height_m += float(world.terrain.height_m(point[0], point[1]))
        if not is_inside_any(world.obstacles, (point[0], point[1], height_m), _CLEARANCE_M):
            yaw = heading + yaw + (0.0 if forward else math.pi)
            climb, lean = world.terrain.tilt_rad(point[0], point[1], yaw)
            return camera_pose(point[0], point[1], height_m, yaw, pitch + float(climb), roll + float(lean))
    raise DatasetError(
        f"world {world.seed} has no free place for a camera {camera_height_m[0]:g} to {camera_height_m[1]:g} m "
        "above its road; use another seed."
    )


def _room_view(
    rng: np.random.Generator, world: StreetWorld, camera_height_m: tuple[float, float]
) -> NDArray[np.float64]:
    for _ in range(_MOST_TRIES):
        room = world.rooms[int(rng.integers(len(world.rooms)))]
        half_x_m, half_y_m = room.half_length_m - _ROOM_CLEARANCE_M, room.half_width_m - _ROOM_CLEARANCE_M
        x, y = room.x + rng.uniform(-half_x_m, half_x_m), room.y + rng.uniform(-half_y_m, half_y_m)
        z = min(room.bottom_m + rng.uniform(*camera_height_m), room.top_m - _ROOM_CLEARANCE_M)
        if not is_inside_any(world.obstacles, (x, y, z), _ROOM_CLEARANCE_M):
            pitch = float(np.clip(rng.normal(0.0, 0.12), -0.5, 0.5))
            roll = float(np.clip(rng.normal(0.0, 0.02), -0.07, 0.07))
            # Mostly towards some place in the room: a wall from near tells nothing of its distance.
            to_x = room.x + rng.uniform(-half_x_m, half_x_m)
            to_y = room.y + rng.uniform(-half_y_m, half_y_m)
            is_lost = rng.random() < 0.2
            yaw = rng.uniform(-math.pi, math.pi) if is_lost else math.atan2(to_y - y, to_x - x)
            return camera_pose(x, y, z, yaw, pitch, roll)
    raise DatasetError(f"world {world.seed} has no free place for a camera in its rooms; use another seed.")


def is_inside_any(
    obstacles: tuple[Obstacle, ...], point: tuple[float, float, float], clearance_m: float = 0.0
) -> bool:
    """Whether a world point is within ``clearance_m`` of an object's box."""
    x, y, z = point
    for box in obstacles:
        if not box.bottom_m - clearance_m < z < box.top_m + clearance_m:
            continue
        cosine, sine = math.cos(box.heading_rad), math.sin(box.heading_rad)
        along = (x - box.x) * cosine + (y - box.y) * sine
        aside = (y - box.y) * cosine - (x - box.x) * sine
        if abs(along) < box.half_length_m + clearance_m and abs(aside) < box.half_width_m + clearance_m:
            return True
    return False


def _travelled(rng: np.random.Generator, path_m: float, mean_step_m: float) -> NDArray[np.float64]:
    """Way travelled at each frame, its speed varying smoothly by a few percent."""
    steps = max(1, round(path_m / mean_step_m))
    share = np.arange(steps + 1) / steps
    wobble = _sway(rng, share, path_m, 0.05, (90.0, 200.0))
    speed = 1.0 + wobble - wobble[:-1].mean()
    travelled = np.concatenate([[0.0], np.cumsum(speed[:-1])])
    return np.asarray(travelled * (path_m / travelled[-1]))


def _sway(
    rng: np.random.Generator,
    share: NDArray[np.float64],
    length_m: float,
    amplitude: float,
    wavelengths_m: tuple[float, ...],
) -> NDArray[np.float64]:
    """A sum of sines over the drive, each with a whole number of periods so that loops close."""
    total = np.zeros_like(share)
    for wavelength_m in wavelengths_m:
        periods = max(1, round(length_m / wavelength_m))
        total += rng.uniform(0.4, 1.0) * np.sin(2 * math.pi * (periods * share + rng.random()))
    return amplitude / len(wavelengths_m) * total
