"""The package as ROS and pip see it: manifests, launch files and parameters agree with the code."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.xml"))
NODES = {
    "depth_node": ("metric3d_ros.ros.depth_node", "DepthNode"),
    "droid_node": ("droid_bridge.ros.droid_node", "DroidNode"),
}


@pytest.fixture(scope="module")
def declared():
    """Parameter names and node name by executable, from the nodes themselves."""
    rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed")
    rclpy.init()
    try:
        found = {}
        for executable, (module, name) in NODES.items():
            node = getattr(import_module(module), name)()
            found[executable] = (
                node.get_name(),
                {parameter: node.describe_parameter(parameter) for parameter in node._parameters},
            )
            node.destroy_node()
        yield found
    finally:
        rclpy.shutdown()


def test_manifests_agree():
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    setup = (ROOT / "setup.py").read_text()
    assert manifest.attrib["format"] == "3"
    assert manifest.findtext("name") == "metric3d_ros"
    assert f'version="{manifest.findtext("version")}"' in setup
    assert manifest.findtext("license") == "Apache-2.0"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / "metric3d_ros").is_file()


def test_every_command_can_be_imported():
    commands = {
        entry.name: entry for entry in entry_points(group="console_scripts") if entry.dist.name == "metric3d_ros"
    }
    assert {"metric3d", "droid-bridge", "depth_node", "droid_node"} <= commands.keys()
    for name in ("metric3d", "droid-bridge"):
        assert callable(commands[name].load())


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_match_the_code(path, declared):
    root = ElementTree.parse(path).getroot()
    for argument in root.iter("arg"):
        assert argument.attrib["description"].endswith(".")
        assert "default" in argument.attrib
    arguments = {argument.attrib["name"] for argument in root.iter("arg")}
    used = set(re.findall(r"\$\(var (\w+)\)", path.read_text()))
    assert used == arguments
    for node in root.iter("node"):
        name, parameters = declared[node.attrib["exec"]]
        assert node.attrib["name"] == name
        for parameter in node.iter("param"):
            if "name" in parameter.attrib:
                assert parameter.attrib["name"] in parameters


def test_config_holds_parameters_that_exist_at_their_defaults(declared):
    config = yaml.safe_load((ROOT / "config" / "metric3d_slam.yaml").read_text())
    nodes = dict(declared.values())
    for key, block in config.items():
        parameters = nodes[key.rpartition("/")[2]]
        assert block["ros__parameters"].keys() <= parameters.keys()


def test_every_parameter_is_described(declared):
    for _, parameters in declared.values():
        for name, descriptor in parameters.items():
            if name != "use_sim_time" and not name.startswith(("start_type_description", "qos_overrides")):
                assert descriptor.description.endswith("."), name


def test_arrows_between_the_halves():
    """metric3d_ros knows neither droid_bridge nor training nor torch; only ros/ imports rclpy."""
    imports = re.compile(r"^\s*(?:from|import) ([\w.]+)", re.MULTILINE)
    forbidden = {
        "metric3d_ros": {"droid_bridge", "training", "torch"},
        "droid_bridge": {"training"},
        "training": {"droid_bridge"},
    }
    for package, names in forbidden.items():
        for path in (ROOT / package).rglob("*.py"):
            roots = {name.partition(".")[0] for name in imports.findall(path.read_text())}
            assert not roots & names, path
            assert "rclpy" not in roots or path.parent.name == "ros", path
