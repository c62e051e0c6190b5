"""Train a network from a recipe, or go on where the last run stopped.

python -m training.train training/recipes/v2_small.yaml [key=value ...]
torchrun --nproc-per-node 8 -m training.train training/recipes/v2_large.yaml
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from metric3d_ros.errors import Metric3dError
from training.run_recipe import load_run_recipe


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="recipe values to change, such as schedule.steps=1000"
    )
    options = parser.parse_args(arguments)
    try:
        recipe = load_run_recipe(options.recipe, options.overrides)
        # A recipe that cannot work is told before Fabric and its machinery load.
        from training.fabric_trainer import CHECKPOINT_NAME, fit

        trainer = fit(recipe)
    except Metric3dError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    if trainer.fabric.is_global_zero:
        print(
            f"{trainer.step} steps in {trainer.minutes:.1f} min, {trainer.skipped_steps} skipped, "
            f"{trainer.unreadable} samples unreadable: {Path(recipe.output) / CHECKPOINT_NAME}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
