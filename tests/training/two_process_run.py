"""What each process of the two-process test runs: a small v2 network on a recipe given as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from small_networks import small_v2

import training.trained_network
from training.fabric_trainer import fit
from training.run_recipe import run_recipe_from_values

training.trained_network.build_network = lambda _name: small_v2()

if __name__ == "__main__":
    fit(run_recipe_from_values(json.loads(Path(sys.argv[1]).read_text())), quiet=True)
