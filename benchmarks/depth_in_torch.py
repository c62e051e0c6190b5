"""Latency of an official depth network in torch, for the torch column of docs/performance.md.

    python benchmarks/depth_in_torch.py vit_small --size 616x1064 --device cuda

One image in host memory to its maps in host memory, as `metric3d engine bench` times the engines; the weights are
seeded, which costs the same as trained ones.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn

from metric3d_ros.engines.agreement import street_picture
from metric3d_ros.errors import Metric3dError
from training.models import OFFICIAL_NETWORKS, build_network
from training.models.raw_image import RawImageNetwork
from training.seeded_weights import seeded_weights

WARM_UP_RUNS = 3


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(OFFICIAL_NETWORKS))
    parser.add_argument("--size", type=size_px, default=(616, 1064), metavar="HxW")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args(arguments)
    height_px, width_px = options.size
    try:
        network = seeded_network(options.model, height_px, width_px).to(options.device)
    except Metric3dError as error:
        print(f"depth_in_torch: {error}", file=sys.stderr)
        return 2
    image = torch.from_numpy(street_picture(height_px, width_px).transpose(2, 0, 1)[None].copy())
    for name, dtype in (("fp32", None), ("fp16 autocast", torch.float16)):
        if dtype is not None and options.device == "cpu":
            continue
        latencies_ms = [
            latency_ms(network, image, options.device, dtype) for _ in range(WARM_UP_RUNS + options.runs)
        ]
        median_ms, p90_ms = np.percentile(latencies_ms[WARM_UP_RUNS:], [50, 90])
        print(
            f"{options.model} {height_px}x{width_px} torch {torch.__version__} {options.device} {name}: "
            f"median {median_ms:.2f} ms, 90 % {p90_ms:.2f} ms"
        )
    return 0


def size_px(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width)


def seeded_network(name: str, height_px: int, width_px: int) -> nn.Module:
    network = build_network(name)
    network.load_state_dict(seeded_weights(network.state_dict(), 0))
    return RawImageNetwork(network, (height_px, width_px)).eval()


def latency_ms(network: nn.Module, image: Tensor, device: str, dtype: torch.dtype | None) -> float:
    started_s = time.perf_counter()
    with torch.inference_mode(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        for output in network(image.to(device).float()):
            output.cpu()
    return (time.perf_counter() - started_s) * 1e3


if __name__ == "__main__":
    sys.exit(main())
