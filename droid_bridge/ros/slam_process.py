"""Both nodes in one process: images are received and decoded for both, and depth goes over as an array."""

from __future__ import annotations

import sys
from typing import Any

from droid_bridge.ros.droid_node import DroidNode
from metric3d_ros.ros.depth_node import DepthNode
from metric3d_ros.ros.lifecycle import AutostartNode, run_nodes


def make_nodes(**options: Any) -> list[AutostartNode]:
    """The SLAM node and, where the scale prior is on, the depth node that hands it images and depth.

    Parameters
    ----------
    options : of ``rclpy.node.Node``, for both.
    """
    slam = DroidNode(is_handed_frames=True, **options)
    if not slam.value_of("scale_prior"):
        slam.destroy_node()
        return [DroidNode(**options)]
    return [slam, DepthNode(slam, **options)]


def main(args: list[str] | None = None) -> int:
    """Run both nodes until they are shut down."""
    return run_nodes(make_nodes, args)


if __name__ == "__main__":
    sys.exit(main())
