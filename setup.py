"""One package for colcon (ament_python) and for pip."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "metric3d_ros"
ROS_WHEELS = [  # wheels of ROS 2 Jazzy, for machines without a ROS install; they exist for Python 3.11
    "ros-rclpy[fastrtps]==7.1.6",
    "ros-sensor-msgs==5.3.6",
    "ros-nav-msgs==5.3.6",
    "ros-geometry-msgs==5.3.6",
    "ros-std-msgs==5.3.6",
    "ros-diagnostic-msgs==5.3.6",
    "ros-std-srvs==5.3.6",
    "ros-visualization-msgs==5.3.6",
]
EXTRAS = {
    "slam": ["torch>=2.4", "scipy>=1.10", "matplotlib>=3.7", "plotly>=5.24", "jinja2>=3.1"],
    "ray": ["ray>=2.40"],
    "rerun": ["rerun-sdk>=0.24"],
    "ros": [f"{wheel}; python_version == '3.11'" for wheel in ROS_WHEELS],
    "train": [
        "torch>=2.6",
        "onnx>=1.16",
        "pyyaml>=6",
        "lightning-fabric>=2.4",
        "tensorboard>=2.16",
        "kornia>=0.7.3",
        "matplotlib>=3.7",
    ],
    "dev": [
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "mcap-ros2-support>=0.5",
        "evo>=1.31",
        "catkin_pkg>=1.0",
        "mypy>=1.11",
        "ruff>=0.6",
    ],
}

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Metric monocular SLAM for ROS 2",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["metric3d_ros*", "droid_bridge*", "training*"]),
    package_data={
        PACKAGE: ["models/*.onnx", "models/*.json", "ros/*.xml"],
        "droid_bridge": ["report/*.j2"],
        "training": ["recipes/*.yaml"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(str(path) for path in Path("launch").glob("*.xml"))),
        (f"share/{PACKAGE}/config", sorted(str(path) for path in Path("config").iterdir())),
        (f"share/{PACKAGE}/sros2", ["sros2/policy.xml"]),
    ],
    install_requires=[
        "numpy>=1.24",
        "opencv-python-headless>=4.6,<5",
        "onnxruntime>=1.16",
        "pillow>=9",
        "rosbags>=0.11",
        "mcap>=1.2",
        "pyyaml>=6",
        "rich>=13",
    ],
    extras_require=EXTRAS,
    tests_require=["pytest"],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "metric3d = metric3d_ros.cli:main",
            "droid-bridge = droid_bridge.cli:main",
            "depth_node = metric3d_ros.ros.depth_node:main",
            "droid_node = droid_bridge.ros.droid_node:main",
            "metric3d_slam = droid_bridge.ros.slam_process:main",
        ],
    },
)
