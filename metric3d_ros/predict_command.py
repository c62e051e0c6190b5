"""``metric3d predict``: depth, normals and point clouds of images from any camera."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from metric3d_ros.atomic_file import make_output_folder
from metric3d_ros.datasets.image_files import list_images
from metric3d_ros.errors import CameraError, DatasetError, EngineError, ImageError, Metric3dError, OutputError
from metric3d_ros.estimator import MetricDepthEstimator
from metric3d_ros.photo import Photo, add_photo_flags, camera_knowledge, open_estimator, read_photo
from metric3d_ros.photo_camera import CameraKnowledge
from metric3d_ros.prediction_files import CloudOptions, normals_of, write_prediction

EXIT_SOME_SKIPPED = 1
EXIT_NONE_DONE = 2
SHOWN_SOURCES = 10

# What one file can be guilty of; anything else stops the run.
FILE_ERRORS = (ImageError, CameraError, EngineError)


def add_predict_command(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``predict``."""
    parser = subcommands.add_parser(
        "predict",
        help="metric depth, normals and point clouds of images",
        description="Metric depth of images in the wild. The focal length comes from --focal-px, --camera or the "
        "photo's EXIF data; where none is known a field of view is assumed and the depth is not metric. "
        "Exit code: 0 all done, 1 some files were skipped, 2 none could be done.",
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE|DIR", help="images, or folders of them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_photo_flags(parser)
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=CloudOptions.min_confidence,
        metavar="C",
        help="pixels less sure give no point in the cloud (default: %(default)s, expected wrong by half)",
    )
    parser.add_argument("--median", action="store_true", help="smooth the cloud's depth with a 5x5 median")
    parser.add_argument(
        "--cloud-points",
        type=int,
        default=CloudOptions.max_points,
        metavar="N",
        help="thin the cloud to at most this many points (default: %(default)s)",
    )
    parser.set_defaults(run=run_predict)


@dataclass(frozen=True)
class _Run:
    """What is the same for every image."""

    knowledge: CameraKnowledge
    cloud: CloudOptions
    estimator: MetricDepthEstimator
    folder: Path

    def predict(self, path: Path, stem: str) -> Photo:
        """Read one image, predict it and write its files, named by ``stem``."""
        photo = read_photo(path, self.knowledge)
        prediction = photo.predicted_by(self.estimator)
        engine = self.estimator.engine
        normals = normals_of(prediction, engine.model)
        description = {"image": path.name, "model": engine.model.name, "engine": engine.identity}
        write_prediction(self.folder, stem, photo.rgb, prediction, normals, photo.camera, description, self.cloud)
        return photo


@dataclass
class _Tally:
    """What became of the files."""

    done: int = 0
    skipped: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    not_metric: int = 0

    def add(self, photo: Photo) -> None:
        self.done += 1
        self.sources[_focal_text(photo)] += 1
        self.not_metric += not photo.camera.is_metric


def run_predict(arguments: argparse.Namespace) -> int:
    """Predict every image that ``metric3d predict`` was given; returns the exit code."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    knowledge = camera_knowledge(arguments)
    cloud = _cloud_options(arguments)
    stems = output_stems(image_paths(arguments.images))
    estimator = open_estimator(arguments)
    run = _Run(knowledge, cloud, estimator, _output_folder(arguments.out, arguments.images))
    if len(stems) == 1:
        (path,) = stems
        _say_one(console, run.predict(path, stems[path]))
        print(f"wrote {run.folder}")
        return 0
    tally = _Tally()
    for path, stem in track(stems.items(), description="predict", console=console, transient=True):
        try:
            tally.add(run.predict(path, stem))
        except FILE_ERRORS as error:
            tally.skipped += 1
            console.print(f"skipped: {error}")
    _say_all(console, tally)
    print(f"wrote {tally.done} of {len(stems)} images to {run.folder}, {tally.skipped} skipped")
    if tally.done == 0:
        return EXIT_NONE_DONE
    return EXIT_SOME_SKIPPED if tally.skipped else 0


def image_paths(given: Sequence[Path]) -> list[Path]:
    """The images among files and folders, folders in natural order and without their sub-folders.

    Raises
    ------
    DatasetError
        If a path is not there or a folder holds no images.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found += list_images(path)
        elif path.exists():
            found.append(path)
        else:
            raise DatasetError(f"there is no image or folder {path}; check the path.")
    return list(dict.fromkeys(found))


def output_stems(paths: Sequence[Path]) -> dict[Path, str]:
    """What each image's results are named by: its name without the suffix, with it where two would be alike.

    Raises
    ------
    OutputError
        If two images would still write the same files.
    """
    count = Counter(path.stem for path in paths)
    stems = {path: path.stem if count[path.stem] == 1 else path.name.replace(".", "_") for path in paths}
    taken: dict[str, Path] = {}
    for path, stem in stems.items():
        if stem in taken:
            raise OutputError(
                f"{taken[stem]} and {path} would write the same files; predict them into different folders."
            )
        taken[stem] = path
    return stems


def _output_folder(folder: Path, images: Sequence[Path]) -> Path:
    if any(path.is_dir() and path.resolve() == folder.resolve() for path in images):
        raise OutputError(
            f"--out {folder} is the folder of the images, where results would be taken for images the next time; "
            "choose another folder."
        )
    return make_output_folder(folder)


def _cloud_options(arguments: argparse.Namespace) -> CloudOptions:
    if arguments.cloud_points < 1:
        raise Metric3dError(f"--cloud-points is {arguments.cloud_points}; it must be at least 1.")
    return CloudOptions(arguments.min_confidence, arguments.median, arguments.cloud_points)


def _say_one(console: Console, photo: Photo) -> None:
    console.print(f"{photo.path}: focal length {_focal_text(photo)}.")
    if not photo.camera.is_metric:
        console.print("THE DEPTH IS NOT METRIC: it is right up to one factor; give --focal-px or --camera.")


def _say_all(console: Console, tally: _Tally) -> None:
    for source, images in tally.sources.most_common(SHOWN_SOURCES):
        console.print(f"{images} image{'s' * (images > 1)}: focal length {source}.")
    if len(tally.sources) > SHOWN_SOURCES:
        console.print(f"{len(tally.sources) - SHOWN_SOURCES} more focal lengths are in the images' JSON files.")
    if tally.not_metric:
        console.print(
            f"THE DEPTH OF {tally.not_metric} OF {tally.done} IMAGES IS NOT METRIC: it is right up to one factor; "
            "give --focal-px or --camera."
        )


def _focal_text(photo: Photo) -> str:
    return f"{photo.camera.intrinsics.fx:.1f} px ({photo.camera.source})"
