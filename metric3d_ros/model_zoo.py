"""The models known by name: where each comes from, what its authors allow, and what it is good for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from metric3d_ros.cache_folder import cache_folder
from metric3d_ros.canonical import CANONICAL_FOCAL_PX
from metric3d_ros.download import download
from metric3d_ros.errors import EngineError

# Revisions, not branches: what an address gives cannot change.
OFFICIAL = "https://huggingface.co/JUGGHM/Metric3D/resolve/80d2d1410afb4b23cd9d18c6be9144483d4b70b6"
COMMUNITY = "https://huggingface.co/onnx-community"

OFFICIAL_LICENCE = (
    "code BSD-2-Clause; the authors state no terms for the weights and ask for commercial inquiries by mail"
)
COMMUNITY_LICENCE = (
    "CC0-1.0 as the converters state it; the authors of Metric3D state no terms for the weights in it"
)


@dataclass(frozen=True)
class ModelFile:
    """A published file.

    Attributes
    ----------
    url : its address.
    size_mb : its size in 10^6 bytes, rounded.
    sha256 : its checksum as published beside it; None where none is known.
    """

    url: str
    size_mb: int
    sha256: str | None


@dataclass(frozen=True)
class ZooModel:
    """A model known by name.

    Attributes
    ----------
    name : what ``--model`` takes.
    input_height_px, input_width_px : the input size it is best run at.
    good_for : what to choose it for.
    licence : the terms, as those who publish it state them.
    published : the file to fetch; None for a model that is part of this package.
    is_checkpoint : whether that file holds weights for ``training.export`` rather than a network ready to run.
    canonical_focal_px : focal length of the canonical camera its depth is in.
    """

    name: str
    input_height_px: int
    input_width_px: int
    good_for: str
    licence: str
    published: ModelFile | None = None
    is_checkpoint: bool = False
    canonical_focal_px: float = CANONICAL_FOCAL_PX

    @property
    def onnx_path(self) -> Path:
        """Where its network file is, or will be once it is fetched or exported."""
        if self.published is None:
            return Path(str(resources.files("metric3d_ros") / "models" / f"{self.name}.onnx"))
        return models_folder() / f"{self.name}.onnx"

    @property
    def fetched_path(self) -> Path:
        """Where ``fetch`` puts its file."""
        if self.published is None or not self.is_checkpoint:
            return self.onnx_path
        return models_folder() / self.published.url.rpartition("/")[2]

    @property
    def export_command(self) -> str:
        """What turns its checkpoint into its network file."""
        return (
            f"python -m training.export {self.name} --checkpoint {self.fetched_path} "
            f"--size {self.input_height_px}x{self.input_width_px} --out {self.onnx_path}"
        )


def _official(name: str, height_px: int, width_px: int, file: ModelFile, good_for: str) -> ZooModel:
    return ZooModel(name, height_px, width_px, good_for, OFFICIAL_LICENCE, file, is_checkpoint=True)


def _community(name: str, file: ModelFile, good_for: str) -> ZooModel:
    return ZooModel(name, 616, 1064, good_for, COMMUNITY_LICENCE, file)


ZOO = (
    ZooModel(
        "nano",
        352,
        1056,
        "streets, on any CPU; the default",
        "Apache-2.0, weights too: trained by this project on simulated worlds alone",
    ),
    _official(
        "convnext_tiny",
        544,
        1216,
        ModelFile(
            f"{OFFICIAL}/convtiny_hourglass_v1.pth",
            124,
            "bc41f5f919bb0388bbc88fe1d9e60b49b826c620b4acc1b6c10f473f6d4741a5",
        ),
        "outdoors only, its authors say; no normals",
    ),
    _official(
        "convnext_large",
        544,
        1216,
        ModelFile(
            f"{OFFICIAL}/convlarge_hourglass_0.3_150_step750k_v1.1.pth",
            813,
            "0eaaa2501557ac627ada0070e257c6bc74e3e60b45477b29c2efceb70440cfe8",
        ),
        "indoors and outdoors, the first paper's; no normals",
    ),
    _official(
        "vit_small",
        616,
        1064,
        ModelFile(
            f"{OFFICIAL}/metric_depth_vit_small_800k.pth",
            150,
            "b34b2a2be9148054991cef7e417930e1320602ba7bc503b0ee4e7888543728f6",
        ),
        "a robot's GPU, indoors and outdoors; normals",
    ),
    _official(
        "vit_large",
        616,
        1064,
        ModelFile(
            f"{OFFICIAL}/metric_depth_vit_large_800k.pth",
            1648,
            "15328ffc42b528b95f188687418f6f03b3f123eb34ccdbd686c112abbea6d972",
        ),
        "accuracy, on a desktop's GPU; normals",
    ),
    _official(
        "vit_giant2",
        616,
        1064,
        ModelFile(
            f"{OFFICIAL}/metric_depth_vit_giant2_800k.pth",
            5510,
            "22d64c4dec098fa56eb17b6f22b1fb7d16b4742c66a9c8ee73e7dae61c0d2a1b",
        ),
        "the last percent of accuracy, offline; normals",
    ),
    _community(
        "vit_small_community",
        ModelFile(
            f"{COMMUNITY}/metric3d-vit-small/resolve/672e63a9d45ee93c39a3f59cdfd0edf648187f37/onnx/model.onnx",
            151,
            None,
        ),
        "vit_small where there is no torch to export it",
    ),
    _community(
        "vit_large_community",
        ModelFile(
            f"{COMMUNITY}/metric3d-vit-large/resolve/7d679e55ebc155d3f7c919371f0784080fb5f5bd/onnx/model.onnx",
            1650,
            None,
        ),
        "vit_large where there is no torch to export it",
    ),
)


def models_folder() -> Path:
    """Where fetched and exported models are kept."""
    return cache_folder() / "models"


def zoo_model(name: str) -> ZooModel:
    """The model of a name.

    Raises
    ------
    EngineError
        If there is none.
    """
    for model in ZOO:
        if model.name == name:
            return model
    raise EngineError(f"there is no model {name!r}; choose one of {_names()}.")


def fetch(model: ZooModel, folder: Path | None = None) -> Path:
    """Download a model's file, unless it is here; returns where it is.

    Parameters
    ----------
    folder : where to put it instead of where ``model_path`` looks.

    Raises
    ------
    DownloadError
        If it cannot be fetched or written.
    """
    path = model.fetched_path if folder is None else folder / model.fetched_path.name
    if model.published is None:
        return model.onnx_path
    return download(model.published.url, path, model.published.sha256, description=model.name)


def model_path(name_or_file: str) -> Path:
    """The ONNX file of a model's name, or the file itself where a path is given.

    Raises
    ------
    EngineError
        If it is neither a known name nor an existing file, or the named model was not fetched or exported yet.
    """
    for model in ZOO:
        if model.name == name_or_file:
            return _present(model)
    path = Path(name_or_file).expanduser()
    if path.is_file():
        return path
    raise EngineError(f"model {name_or_file!r} is neither a known name ({_names()}) nor an existing ONNX file.")


def _present(model: ZooModel) -> Path:
    if model.onnx_path.is_file():
        return model.onnx_path
    steps = [f"metric3d models fetch {model.name}"] if not model.fetched_path.is_file() else []
    if model.is_checkpoint:
        steps.append(model.export_command)
    raise EngineError(f"model {model.name} is not at {model.onnx_path}; run {' and then '.join(steps)}.")


def _names() -> str:
    return ", ".join(model.name for model in ZOO)
