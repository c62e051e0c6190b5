from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metric3d_ros import point_cloud
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.errors import DatasetError, OutputError
from metric3d_ros.point_cloud import back_project, median_filtered, write_ply

CAMERA = PinholeCamera(8, 6, 4.0, 5.0, 3.5, 2.5)


def read_ply(path: Path) -> tuple[list[str], np.ndarray]:
    """Header lines and vertices, read by what the header says."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    types = {"float": "<f4", "uchar": "u1"}
    fields = [line.split()[1:] for line in lines if line.startswith("property")]
    vertices = np.frombuffer(body, dtype=[(name, types[kind]) for kind, name in fields])
    assert f"element vertex {len(vertices)}" in lines
    return lines, vertices


@pytest.mark.parametrize("with_normals", [False, True])
def test_ply_holds_every_point(tmp_path: Path, with_normals: bool) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(7, 3))
    colours = rng.integers(0, 256, (7, 3), dtype=np.uint8)
    normals = rng.normal(size=(7, 3)) if with_normals else None
    write_ply(tmp_path / "cloud.ply", points, colours, normals)
    lines, vertices = read_ply(tmp_path / "cloud.ply")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    np.testing.assert_array_equal(np.stack([vertices[n] for n in "xyz"], 1), points.astype(np.float32))
    np.testing.assert_array_equal(np.stack([vertices[n] for n in ("red", "green", "blue")], 1), colours)
    if normals is None:
        assert "nx" not in vertices.dtype.names
    else:
        np.testing.assert_array_equal(np.stack([vertices[n] for n in ("nx", "ny", "nz")], 1), np.float32(normals))


def test_an_empty_cloud_is_a_cloud(tmp_path: Path) -> None:
    write_ply(tmp_path / "cloud.ply", np.zeros((0, 3)), np.zeros((0, 3), np.uint8))
    assert len(read_ply(tmp_path / "cloud.ply")[1]) == 0


def test_arrays_that_do_not_belong_together_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"red green blue .* has shape \(2, 3\); it must be \(3, 3\)"):
        write_ply(tmp_path / "cloud.ply", np.zeros((3, 3)), np.zeros((2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_points_project_back_to_their_pixels() -> None:
    depth_m = np.linspace(1, 20, 48, dtype=np.float32).reshape(6, 8)
    projected = back_project(depth_m, CAMERA) @ CAMERA.matrix().T
    v, u = np.mgrid[:6, :8]
    np.testing.assert_allclose(projected[..., 0] / projected[..., 2], u, atol=1e-5)
    np.testing.assert_allclose(projected[..., 1] / projected[..., 2], v, atol=1e-5)
    np.testing.assert_array_equal(back_project(depth_m, CAMERA)[..., 2], depth_m)


def test_median_takes_a_flying_point_and_keeps_an_edge() -> None:
    depth_m = np.full((12, 12), 2.0, np.float32)
    depth_m[:, 6:] = 9.0
    edge = depth_m.copy()
    depth_m[4, 2] = 5.5
    np.testing.assert_array_equal(median_filtered(depth_m), edge)


def test_median_invents_nothing_where_there_is_no_reading() -> None:
    depth_m = np.full((12, 12), 2.0, np.float32)
    depth_m[3, 3] = np.nan
    depth_m[:, 8:] = np.nan
    depth_m[5, 10] = 4.0
    smooth = median_filtered(depth_m)
    assert np.isnan(smooth[3, 3])
    assert np.isnan(smooth[:, 8:]).all()
    assert np.isfinite(smooth[:, :7]).sum() == 12 * 7 - 1


def test_a_written_cloud_reads_back(tmp_path):
    rng = np.random.default_rng(0)
    points_m = rng.normal(size=(7, 3)).astype(np.float32)
    colours = rng.integers(0, 256, (7, 3), dtype=np.uint8)
    for normals in (None, points_m):
        write_ply(tmp_path / "cloud.ply", points_m, colours, normals)
        read_m, read_colours = point_cloud.read_ply(tmp_path / "cloud.ply")
        np.testing.assert_array_equal(read_m, points_m)
        np.testing.assert_array_equal(read_colours, colours)


def test_a_cloud_that_is_none_is_named(tmp_path):
    path = tmp_path / "cloud.ply"
    write_ply(path, np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8))
    whole = path.read_bytes()
    for content in (b"", b"ply\nformat ascii 1.0\n", whole[:-1], whole.replace(b"uchar red", b"uchar rot")):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"cloud\.ply"):
            point_cloud.read_ply(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        point_cloud.read_ply(tmp_path / "absent.ply")
