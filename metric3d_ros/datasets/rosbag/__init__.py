"""rosbag2 recordings, written as MCAP and read as MCAP, db3 or ROS 1 bags; needs no ROS install."""

from metric3d_ros.datasets.rosbag.reader import BagReader
from metric3d_ros.datasets.rosbag.recording import Recording
from metric3d_ros.datasets.rosbag.writer import BagWriter, write_source

__all__ = ["BagReader", "BagWriter", "Recording", "write_source"]
