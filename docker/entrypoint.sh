#!/bin/bash
# Arguments with := go to the SLAM launch file; anything else is run as it is.
set -e
source /opt/ros/jazzy/setup.bash
source /workspace/install/setup.bash
if [[ "$1" == *":="* ]]; then
    exec ros2 launch metric3d_ros metric3d_slam.launch.xml "$@"
fi
exec "$@"
