"""The parts of a run's recipe, each with what its values must be (``training.run_recipe`` puts them together)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from metric3d_ros.letterbox import IMAGE_CENTRE, PLACEMENTS
from training.errors import RecipeError
from training.label_kind import LabelKind
from training.recipe_values import did_you_mean
from training.trained_network import NETWORKS

READERS: dict[str, tuple[str, ...]] = {
    "annotations": ("path", "kind"),
    "kitti_raw": ("path", "drive"),
    "nyu": ("path",),
    "simulated": ("style", "size"),
    "pool": ("path",),
}


@dataclass(frozen=True)
class NetworkRecipe:
    """Which network, and what it starts from.

    Attributes
    ----------
    name : ``nano``, ``convnext_tiny``, ``convnext_large``, ``vit_small``, ``vit_large`` or ``vit_giant2``.
    widths, depths, decoder_widths : of nano (``training.models.nano.Nano``); empty for the others.
    initial : weights to start from: an official checkpoint (.pth), a run's checkpoint (.pt) or, for nano, an
        exported network (.onnx); empty for random ones.
    initial_sha256 : which file exactly that is; empty to take any.
    """

    name: str
    widths: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    decoder_widths: tuple[int, ...] = ()
    initial: str = ""
    initial_sha256: str = ""

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise RecipeError(f"recipe: network.name is '{self.name}'{did_you_mean(self.name, NETWORKS)}")
        sizes = (len(self.widths), len(self.depths), len(self.decoder_widths))
        if sizes not in (((5, 4, 3), (5, 4, 4)) if self.name == "nano" else ((0, 0, 0),)):
            raise RecipeError(
                f"recipe: network {self.name} has {sizes[0]} widths, {sizes[1]} depths and {sizes[2]} "
                "decoder_widths; nano needs 5, 4 and 3 or 4, the others none."
            )


@dataclass(frozen=True)
class ViewRecipe:
    """What becomes of an image before the network sees it, from one step on.

    Attributes
    ----------
    first_step : of the run; the first stage's is 0.
    height_px, width_px : the network's input.
    fit : shrink or enlarge every image to the letterbox first, as inference does; else crops are cut at full size.
    placement : what lies in the middle of the input: ``image_centre`` (crops at random heights) or
        ``principal_row`` (``metric3d_ros.letterbox``); an exported nano says which, and inference follows.
    resize_range, resize_probability : a further random scale, which the label follows.
    flip_probability, edge_mask_probability : mirrored left to right; a border of up to 50 px painted over.
    foreign_top_probability : the rows over the horizon taken from another view (``training.foreign_top``).
    padded_top_probability : those rows hidden under padding, as in the lower look of a network that looks twice.
    overview_every_steps, overview_px : every so many steps the views have this height and width, as such a
        network's overview is smaller, and nothing is hidden; 0 for never.
    """

    height_px: int
    width_px: int
    fit: bool = False
    placement: str = IMAGE_CENTRE
    resize_range: tuple[float, ...] = (0.85, 1.15)
    resize_probability: float = 0.5
    flip_probability: float = 0.5
    edge_mask_probability: float = 0.2
    foreign_top_probability: float = 0.0
    padded_top_probability: float = 0.0
    overview_every_steps: int = 0
    overview_px: tuple[int, ...] = ()
    first_step: int = 0

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise RecipeError(
                f"recipe: views.placement is '{self.placement}'{did_you_mean(self.placement, PLACEMENTS)}"
            )
        if len(self.resize_range) != 2 or not 0 < self.resize_range[0] <= self.resize_range[1]:
            raise RecipeError(
                f"recipe: views.resize_range is {list(self.resize_range)}; it must be two scales above 0, the "
                "smaller first."
            )
        tops = ("foreign_top_probability", "padded_top_probability")
        require_shares(self, "views", ("resize_probability", "flip_probability", "edge_mask_probability", *tops))
        if self.foreign_top_probability + self.padded_top_probability > 1:
            raise RecipeError(
                f"recipe: views.foreign_top_probability is {self.foreign_top_probability:g} and "
                f"padded_top_probability {self.padded_top_probability:g}; a view has one top: let them add up to "
                "at most 1."
            )
        if self.overview_every_steps < 0 or len(self.overview_px) != (2 if self.overview_every_steps else 0):
            raise RecipeError(
                f"recipe: views.overview_every_steps is {self.overview_every_steps} and overview_px "
                f"{list(self.overview_px)}; give a number of steps with a height and a width, or 0 and none."
            )

    def as_overview(self) -> ViewRecipe:
        """The same at the size of an overview, nothing of it hidden."""
        height_px, width_px = self.overview_px
        return replace(
            self,
            height_px=height_px,
            width_px=width_px,
            padded_top_probability=0.0,
            overview_every_steps=0,
            overview_px=(),
        )


@dataclass(frozen=True)
class PhotometricRecipe:
    """How often each change of colours happens; the paper's values are the defaults.

    Attributes
    ----------
    drawn : instead of all the others, the hard bending of everything that pictures of drawn worlds need to teach
        anything about photographs (``training.augment.photometric``), at this share of the images.
    drawn_gray : how often that takes the colours away.
    """

    gray: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.1
    weather: float = 0.05
    blur: float = 0.05
    jpeg: float = 0.1
    drawn: float = 0.0
    drawn_gray: float = 0.3

    def __post_init__(self) -> None:
        require_shares(self, "photometric", tuple(asdict(self)))


@dataclass(frozen=True)
class DatasetRecipe:
    """One data set; which keys a reader needs is in ``READERS``.

    Attributes
    ----------
    reader : ``annotations``, ``kitti_raw``, ``nyu``, ``simulated`` or ``pool``.
    path : the annotation file or the folder.
    root : what an annotation file's paths are relative to; empty for its own folder.
    kind : of an annotation file's depth: ``lidar``, ``stereo``, ``sfm`` or ``dense``.
    sky_ids, plane_ids : numbers of an annotation file's ``sem`` that are sky, and flat.
    drive, frames, bottom_crop_px : of KITTI raw: the drive, first and end frame, height and width kept.
    style, size, long_side_px : of simulated worlds; how many views count as all of them, and how wide they are
        rendered.
    tall_probability : how often what rises over the horizon is made taller or lower
        (``training.view_variation``); only right for cameras that are nearly level.
    """

    reader: str
    path: str = ""
    root: str = ""
    kind: str = ""
    sky_ids: tuple[int, ...] = ()
    plane_ids: tuple[int, ...] = ()
    drive: str = ""
    frames: tuple[int, ...] = ()
    bottom_crop_px: tuple[int, ...] = ()
    style: str = ""
    size: int = 0
    long_side_px: int = 640
    tall_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.reader not in READERS:
            raise RecipeError(f"recipe: reader is '{self.reader}'{did_you_mean(self.reader, READERS)}")
        missing = [name for name in READERS[self.reader] if not getattr(self, name)]
        if missing:
            raise RecipeError(f"recipe: reader {self.reader} has no {', '.join(missing)}; give it.")
        kinds = [kind.value for kind in LabelKind]
        if self.kind and self.kind not in kinds:
            raise RecipeError(f"recipe: kind is '{self.kind}'{did_you_mean(self.kind, kinds)}")
        require_shares(self, "", ("tall_probability",))
        for name in ("frames", "bottom_crop_px"):
            if len(getattr(self, name)) not in (0, 2):
                raise RecipeError(f"recipe: {name} is {list(getattr(self, name))}; it must have two numbers.")


@dataclass(frozen=True)
class OptimizerRecipe:
    """AdamW with its own rate and decay for the encoder and for the rest."""

    encoder_learning_rate: float
    decoder_learning_rate: float
    encoder_weight_decay: float
    decoder_weight_decay: float
    betas: tuple[float, ...] = (0.9, 0.999)
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(
                f"recipe: optimizer.betas is {list(self.betas)}; give two numbers from 0 to below 1."
            )
        require_above_zero(self, "optimizer", ("encoder_learning_rate", "decoder_learning_rate", "epsilon"))


@dataclass(frozen=True)
class ScheduleRecipe:
    """Linear warm-up, then a fall to ``min_learning_rate``: (1 - share of the steps)^power.

    Attributes
    ----------
    power : 0.9 in the paper.
    hold : the share of the steps for which the rate stays up before it falls; 0 in the paper.
    """

    steps: int
    warmup_steps: int
    power: float = 0.9
    min_learning_rate: float = 1e-6
    hold: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0:
            raise RecipeError(
                f"recipe: schedule has {self.steps} steps and {self.warmup_steps} warmup_steps; there must be at "
                "least 1 and 0."
            )
        if not 0 <= self.hold < 1:
            raise RecipeError(f"recipe: schedule.hold is {self.hold}; it must be from 0 to below 1.")

    def learning_rate(self, peak: float, step: int) -> float:
        """The rate of a step, counted from 0, for a group whose highest rate is ``peak``."""
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        held = max(self.warmup_steps, round(self.hold * self.steps))
        share = max(0, step - held) / max(1, self.steps - held)
        fallen = peak * float((1 - share) ** self.power)
        return max(min(self.min_learning_rate, peak), fallen)


def require_shares(recipe: object, where: str, names: Sequence[str]) -> None:
    """Make sure that some values of ``recipe``, the part called ``where``, lie between 0 and 1.

    Raises
    ------
    RecipeError
        If one does not.
    """
    for name in names:
        if not 0 <= getattr(recipe, name) <= 1:
            full = f"{where}.{name}" if where else name
            raise RecipeError(f"recipe: {full} is {getattr(recipe, name)}; it must lie between 0 and 1.")


def require_above_zero(recipe: object, where: str, names: Sequence[str]) -> None:
    """Make sure that some values of ``recipe``, the part called ``where``, are above 0.

    Raises
    ------
    RecipeError
        If one is not.
    """
    for name in names:
        value = getattr(recipe, name)
        if not (value > 0 and math.isfinite(value)):
            full = f"{where}.{name}" if where else name
            raise RecipeError(f"recipe: {full} is {value}; it must be above 0.")
