"""``metric3d depth``: the depth of an image, or a strip of a bag's frames, as files."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from metric3d_ros.atomic_file import atomic_file
from metric3d_ros.datasets.rosbag import BagReader
from metric3d_ros.depth_picture import colour_depth, depth_strip, write_png
from metric3d_ros.errors import CameraError, DatasetError, ImageError
from metric3d_ros.estimator import MetricDepthEstimator
from metric3d_ros.photo_camera import CameraKnowledge
from metric3d_ros.prediction_files import encode_npy

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def add_depth_command(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``depth``."""
    parser = subcommands.add_parser(
        "depth",
        help="metric depth of an image or of a bag's frames, as one picture",
        description="Metric depth of one image (--focal) or of frames spread over a bag, as a picture; "
        "for an image the depth in metres can be written as .npy too.",
    )
    parser.add_argument("source", type=Path, help="an image file, or a bag with image and camera_info")
    parser.add_argument("--out", type=Path, required=True, help="picture to write (.png)")
    parser.add_argument(
        "--focal", type=float, help="focal length of the image in pixels, where its EXIF data does not tell"
    )
    parser.add_argument("--npy", type=Path, help="depth in metres, float32 (images only)")
    parser.add_argument("--model", default="nano", help="packaged model or ONNX file (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=4, help="frames of a bag to show (default: %(default)s)")
    parser.add_argument(
        "--reference", action="store_true", help="show the bag's reference depth instead of the model's"
    )
    parser.set_defaults(run=run_depth)


def run_depth(arguments: argparse.Namespace) -> int:
    """Write the pictures that ``metric3d depth`` asks for."""
    if arguments.source.suffix.lower() in IMAGE_SUFFIXES:
        _write_image_depth(arguments)
    else:
        _write_bag_strip(arguments)
    print(f"wrote {arguments.out}")
    return 0


def _write_image_depth(arguments: argparse.Namespace) -> None:
    rgb = _read_rgb(arguments.source)
    height_px, width_px = rgb.shape[:2]
    camera = CameraKnowledge(focal_px=arguments.focal).camera_of(arguments.source, width_px, height_px)
    if not camera.is_metric:
        raise CameraError(f"{arguments.source} says nothing of its camera; give its focal length with --focal.")
    depth_m = MetricDepthEstimator.from_model(arguments.model).predict(rgb, camera.intrinsics).depth_m
    if arguments.npy is not None:
        _write_npy(depth_m, arguments.npy)
    write_png(colour_depth(depth_m), arguments.out)


def _write_bag_strip(arguments: argparse.Namespace) -> None:
    reader = BagReader(arguments.source)
    estimator = None if arguments.reference else MetricDepthEstimator.from_model(arguments.model)
    samples = []
    for index in np.linspace(0, len(reader) - 1, max(1, arguments.frames)).round().astype(int):
        frame = reader[int(index)]
        depth_m = frame.depth_m if estimator is None else estimator.predict(frame.image, frame.camera).depth_m
        if depth_m is None:
            raise DatasetError(f"{arguments.source} holds no reference depth; leave out --reference.")
        samples.append((frame.image, depth_m))
    write_png(depth_strip(samples), arguments.out)


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise DatasetError(f"image {path} is not there; check the path.")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{path} cannot be decoded as an image; is it complete?")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _write_npy(depth_m: NDArray[np.float32], path: Path) -> None:
    with atomic_file(path) as file:
        file.write(encode_npy(depth_m))
