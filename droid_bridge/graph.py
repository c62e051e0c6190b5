"""Starts the nodes and the player of one graph as processes, and ends them whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from droid_bridge.errors import DroidBridgeError
from droid_bridge.graph_domain import free_domain_id

FINISH_TIMEOUT_S = 1800  # a node may adjust all keyframes of a long drive before its files are finished
STOP_TIMEOUT_S = 20
LAST_LINES = 3


def run_command(module: str, *arguments: str) -> None:
    """Run ``python -m module`` to its end, its output on this terminal.

    Raises
    ------
    DroidBridgeError
        If it fails, with the sentence it ended with.
    """
    command = [sys.executable, "-m", module, *arguments]
    finished = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False)
    if finished.returncode:
        last_line = (finished.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise DroidBridgeError(last_line.removeprefix("metric3d: "))
    sys.stderr.write(finished.stderr)


class GraphProcesses:
    """ROS nodes in processes of their own, on a ROS domain of their own, with one log file each.

    Whatever domain the shell is in: graphs beside each other, and a robot's, must not meet.
    Used as a context: on leaving, every node gets SIGINT and the time to finish its files.
    """

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self.domain_id = free_domain_id()
        self._environment = os.environ | {
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_DOMAIN_ID": str(self.domain_id),
        }
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start_node(self, module: str, parameters: Mapping[str, str], remaps: Mapping[str, str]) -> None:
        """Start a node of this project by its module."""
        command = [sys.executable, "-m", module, "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        for name, target in remaps.items():
            command += ["-r", f"{name}:={target}"]
        with self._log_of(module).open("wb") as log:
            self._nodes[module] = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def run_player(self, arguments: Sequence[str]) -> None:
        """Play a bag to its end; raises DroidBridgeError if it, or a node meanwhile, fails."""
        command = [sys.executable, "-m", "metric3d_ros.cli", "bag", "play", *arguments]
        player = subprocess.Popen(command, env=self._environment)
        try:
            while True:
                self._check_nodes()
                try:
                    code = player.wait(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            player.kill()
            player.wait()
        if code:
            raise DroidBridgeError(
                f"the bag player ended with exit status {code}; the nodes' logs are in {self._log_folder}."
            )

    def __enter__(self) -> GraphProcesses:
        self._terminate_before = signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._nodes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        timeout_s = FINISH_TIMEOUT_S if kind is None else STOP_TIMEOUT_S
        for process in self._nodes.values():
            try:
                process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        signal.signal(signal.SIGTERM, self._terminate_before)

    def _check_nodes(self) -> None:
        for module, process in self._nodes.items():
            if process.poll() is not None:
                log = self._log_of(module)
                last_lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
                raise DroidBridgeError(
                    f"{module} ended with exit status {process.returncode}: {' / '.join(last_lines)} (log: {log})"
                )

    def _log_of(self, module: str) -> Path:
        return self._log_folder / f"{module.rpartition('.')[2]}.log"


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like an exception, so that no node is left behind."""
    sys.exit(128 + number)
