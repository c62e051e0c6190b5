"""The package as ROS and pip see it: manifests, launch files and parameters agree with the code."""

from __future__ import annotations

import json
import re
import runpy
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.xml"))
CONFIG_FILES = sorted((ROOT / "config").glob("*.yaml"))
# What other packages run; README and how-tos say where they come from.
OTHERS_EXECUTABLES = {"rviz2", "usb_cam_node_exe", "static_transform_publisher"}


@pytest.fixture(scope="module")
def graph():
    """What the nodes have, from the nodes themselves."""
    pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")
    from droid_bridge.ros.node_pages import described_nodes

    return described_nodes()


@pytest.fixture(scope="module")
def declared(graph):
    parameters = {description.name: description.parameters for description in graph}
    named = {description.executable: {description.name: description.parameters} for description in graph}
    return named | {"metric3d_slam": parameters}


@pytest.fixture(scope="module")
def topics(graph):
    return {topic.name for description in graph for topic in description.topics}


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
    assert {"metric3d", "droid-bridge", "depth_node", "droid_node", "metric3d_slam"} <= commands.keys()
    for name in ("metric3d", "droid-bridge"):
        assert callable(commands[name].load())


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_match_the_code(path, declared, topics):
    root = ElementTree.parse(path).getroot()
    arguments = {argument.attrib["name"]: argument.attrib for argument in root.findall("arg")}
    for argument in arguments.values():
        assert argument["description"].endswith(".")
        assert "default" in argument
    used = set(re.findall(r"\$\(var (\w+)\)", path.read_text()))
    assert used == arguments.keys()
    for node in root.iter("node"):
        executable = node.attrib["exec"]
        if executable not in declared:
            assert executable in OTHERS_EXECUTABLES
            continue
        assert node.attrib["pkg"] == "metric3d_ros"
        nodes = declared[executable]
        # A name would rename every node of a process.
        assert node.attrib.get("name") == (next(iter(nodes)) if len(nodes) == 1 else None)
        known = set().union(*nodes.values())
        for parameter in node.iter("param"):
            assert "from" in parameter.attrib or parameter.attrib["name"] in known | {"use_sim_time"}
    for remap in [*root.iter("remap"), *root.iter("set_remap")]:
        assert remap.attrib["from"] in topics | {"image/compressed"}


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_include_what_is_there_with_arguments_it_has(path):
    share = "$(find-pkg-share metric3d_ros)/"
    for file in re.findall(re.escape(share) + r"([\w./]+)", path.read_text()):
        assert (ROOT / file).is_file()
    for include in ElementTree.parse(path).getroot().iter("include"):
        included = ElementTree.parse(ROOT / include.attrib["file"].removeprefix(share)).getroot()
        known = {argument.attrib["name"] for argument in included.findall("arg")}
        assert {argument.attrib["name"] for argument in include.findall("arg")} <= known


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: path.name)
def test_config_holds_parameters_that_exist_with_values_they_take(path, declared):
    nodes = {name: parameters for executable in declared.values() for name, parameters in executable.items()}
    for key, block in yaml.safe_load(path.read_text()).items():
        name = key.rpartition("/")[2]
        if name == "camera":
            continue  # usb_cam's own
        for parameter, value in block["ros__parameters"].items():
            default, descriptor = nodes[name][parameter]
            assert type(value) is type(default), parameter
            for bounds in [*descriptor.integer_range, *descriptor.floating_point_range]:
                assert bounds.from_value <= value <= bounds.to_value, parameter
            if path.name == "metric3d_slam.yaml":
                assert value == default, parameter


def test_views_show_topics_that_are_published(topics):
    absolute = {f"/{topic}" for topic in topics} | {f"/camera/{topic}" for topic in topics}
    absolute |= {"/camera/image_rect", "/diagnostics"}
    rviz = yaml.safe_load((ROOT / "config" / "slam.rviz").read_text())
    shown = [
        display["Topic"]["Value"] for display in rviz["Visualization Manager"]["Displays"] if "Topic" in display
    ]
    foxglove = json.loads((ROOT / "config" / "foxglove_slam.json").read_text())
    panels = foxglove["configById"].values()
    for panel in panels:
        shown += panel.get("topics", {})
        shown += [topic for topic in panel.get("imageMode", {}).values() if isinstance(topic, str)]
        shown += [path["value"].partition(".")[0] for path in panel.get("paths", [])]
    assert len(shown) > 12
    assert set(shown) <= absolute
    assert set(re.findall(r"\w+!\w+", json.dumps(foxglove["layout"]))) == foxglove["configById"].keys()


def test_every_file_of_launch_and_config_is_installed(monkeypatch):
    import setuptools

    calls = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **options: calls.append(options))
    runpy.run_path(str(ROOT / "setup.py"))
    data_files = dict(calls[0]["data_files"])
    for folder in ("launch", "config"):
        installed = {Path(file).name for file in data_files[f"share/metric3d_ros/{folder}"]}
        assert installed == {path.name for path in (ROOT / folder).iterdir()}


def test_every_parameter_is_described(graph):
    described = [(name, known) for node in graph for name, (_, known) in node.parameters.items()]
    assert len(described) > 30
    for name, descriptor in described:
        assert descriptor.description.endswith("."), name


def test_the_page_of_the_nodes_is_as_the_nodes_are(graph):
    from droid_bridge.ros.node_pages import nodes_page

    again = "run python -m droid_bridge.ros.node_pages docs/nodes.md"
    assert (ROOT / "docs" / "nodes.md").read_text() == nodes_page(), again


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
