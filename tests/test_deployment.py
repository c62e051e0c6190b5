"""What is installed, started in containers and allowed under SROS2, as far as it shows without those."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
INSTRUCTIONS = {"FROM", "SHELL", "RUN", "ENV", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "ARG", "LABEL"}
NODES_OF_ENCLAVE = {"/metric3d_slam": {"depth", "droid_slam"}, "/depth": {"depth"}, "/droid_slam": {"droid_slam"}}
# The names that launch/metric3d_slam.launch.xml gives them.
LAUNCHED_AS = {"image": "camera/image_rect", "camera_info": "camera/camera_info"}
# rclcpp and rclpy add these below what a node lists.
IN_EVERY_NODE = {("/rosout", True), ("~/transition_event", True), ("/clock", False)}


@pytest.fixture(scope="module")
def graph():
    pytest.importorskip("rclpy", reason="rclpy is not installed: source a ROS install or take the [ros] extra")
    from droid_bridge.ros.node_pages import described_nodes

    return {node.name: node for node in described_nodes()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The tree that colcon's ament_python build leaves: setup.py install with the prefix of the workspace."""
    folder = tmp_path_factory.mktemp("workspace")
    source, prefix = folder / "src", folder / "install"
    source.mkdir()
    for name in ("setup.py", "setup.cfg", "package.xml", "README.md"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("resource", "launch", "config", "sros2", "metric3d_ros", "droid_bridge", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [sys.executable, "setup.py", "-q", "install", "--prefix", str(prefix)]
    command += ["--single-version-externally-managed", "--record", str(folder / "record.txt")]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-2000:]
    return prefix


def test_executables_land_where_ros2_run_looks(installed):
    executables = {path.name for path in (installed / "lib" / "metric3d_ros").iterdir()}
    assert {"depth_node", "droid_node", "metric3d_slam", "metric3d", "droid-bridge"} <= executables
    assert not (installed / "bin").exists()


def test_data_files_land_in_share(installed):
    share = installed / "share"
    assert (share / "ament_index" / "resource_index" / "packages" / "metric3d_ros").is_file()
    assert (share / "metric3d_ros" / "package.xml").is_file()
    for folder in ("launch", "config", "sros2"):
        there = {path.name for path in (share / "metric3d_ros" / folder).iterdir()}
        assert there == {path.name for path in (ROOT / folder).iterdir()}


def test_models_and_profiles_are_installed_with_the_code(installed):
    code = next(installed.glob("lib/python*/site-packages/metric3d_ros"))
    assert (code / "models" / "nano.onnx").is_file()
    assert (code / "ros" / "fastdds_large_messages.xml").is_file()


def test_the_manifest_is_valid_format_3():
    catkin_package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed: take [dev]")
    warnings: list[str] = []
    manifest = catkin_package.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert (manifest.package_format, manifest.get_build_type(), warnings) == (3, "ament_python", [])


def test_every_message_package_that_is_imported_is_a_dependency():
    packages = set()
    for half in ("metric3d_ros", "droid_bridge"):
        for path in (ROOT / half).rglob("*.py"):
            packages |= set(re.findall(r"^from (\w+)\.(?:msg|srv) import", path.read_text(), re.MULTILINE))
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {entry.text for entry in manifest.findall("exec_depend")}
    assert packages <= declared | {"rclpy"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles(path):
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    assert {name for name, _ in steps} <= INSTRUCTIONS
    assert steps[0][0] == "FROM"
    image = steps[0][1]
    assert ":" in image
    assert not image.endswith(":latest")
    for name, rest in steps:
        if name == "COPY":
            sources = [word for word in rest.split()[:-1] if not word.startswith("--")]
            assert all((ROOT / source).exists() for source in sources)
        if name == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest
            assert "rm -rf /var/lib/apt/lists/*" in rest
        if name in ("ENTRYPOINT", "CMD", "SHELL"):
            json.loads(rest)
    users = [rest for name, rest in steps if name == "USER"]
    assert users[-1:] == ["robot"]


def test_the_entrypoint_is_bash_that_parses():
    path = ROOT / "docker" / "entrypoint.sh"
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    for launch_file in re.findall(r"[\w.]+\.launch\.xml", path.read_text()):
        assert (ROOT / "launch" / launch_file).is_file()


def test_the_devcontainer_builds_a_dockerfile_that_is_there():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / container["build"]["dockerfile"]).is_file()
    assert (ROOT / ".devcontainer" / container["build"]["context"] / "setup.py").is_file()


def launched_name(topic: str) -> str:
    relative = topic.lstrip("/")
    if relative in LAUNCHED_AS:
        return LAUNCHED_AS[relative]
    if relative.startswith("depth/"):
        return f"camera/{relative}"
    return topic if topic in ("/diagnostics", "/parameter_events") else relative


@pytest.mark.parametrize("enclave", NODES_OF_ENCLAVE)
def test_the_policy_allows_what_the_nodes_have_and_nothing_else(enclave, graph):
    policy = ElementTree.parse(ROOT / "sros2" / "policy.xml").getroot()
    found = next(element for element in policy.iter("enclave") if element.attrib["path"] == enclave)
    profiles = {profile.attrib["node"]: profile for profile in found.iter("profile")}
    assert profiles.keys() == NODES_OF_ENCLAVE[enclave]
    for name, profile in profiles.items():
        topics = {(launched_name(topic), published) for topic, published in graph[name].every_topic}
        topics |= IN_EVERY_NODE | {("camera/image_rect/compressed", False)}
        if name == "droid_slam":
            topics |= {("/tf", True)}
        assert allowed_topics(profile) == topics
        services = {service.text.replace("~", f"/{name}") for service in profile.iter("service")}
        assert services == graph[name].every_service


def allowed_topics(profile) -> set[tuple[str, bool]]:
    return {
        (topic.text, "publish" in group.attrib)
        for group in profile.findall("topics")
        for topic in group.findall("topic")
    }
