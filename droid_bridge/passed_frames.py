"""Frames that are no keyframes: each keeps its place beside the last keyframe, and moves as that one moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from droid_bridge.factor_graph import FactorGraph, WindowFrame
from droid_bridge.lie import se3_inverse
from droid_bridge.matching.choice import AnyFeatures
from droid_bridge.odometry_update import TrackedPose


@dataclass(frozen=True)
class _PassedFrame:
    """A frame by its keyframe's number; ``frame_from_keyframe`` is (4, 4) float64."""

    frame_index: int
    stamp_ns: int
    keyframe_index: int
    frame_from_keyframe: Tensor


class PassedFrames:
    """The frames between the keyframes of a window."""

    def __init__(self) -> None:
        self._frames: list[_PassedFrame] = []

    def add(
        self, frame: WindowFrame[AnyFeatures], camera_from_world: Tensor, graph: FactorGraph[AnyFeatures]
    ) -> None:
        """Keep where a frame is as seen from the last keyframe of the window."""
        from_keyframe = camera_from_world @ se3_inverse(graph.estimate.camera_from_world[-1])
        keyframe_index = graph.frames[-1].frame_index
        self._frames.append(_PassedFrame(frame.frame_index, frame.stamp_ns, keyframe_index, from_keyframe.cpu()))

    def forget(self, keyframe_index: int) -> None:
        """Let go of the frames of a keyframe that leaves."""
        self._frames = [frame for frame in self._frames if frame.keyframe_index != keyframe_index]

    def rescale(self, factor: float) -> None:
        """Follow a map that became larger by a factor."""
        size = torch.tensor([factor] * 3, dtype=torch.float64)
        for k, frame in enumerate(self._frames):
            moved = frame.frame_from_keyframe.clone()
            moved[:3, 3] *= size
            self._frames[k] = replace(frame, frame_from_keyframe=moved)

    def with_keyframes(self, graph: FactorGraph[AnyFeatures]) -> tuple[TrackedPose, ...]:
        """Current poses of the window's keyframes and of the frames between them, in order."""
        poses = graph.estimate.camera_from_world.cpu()
        pose_of = {frame.frame_index: poses[k] for k, frame in enumerate(graph.frames)}
        found = [(frame.frame_index, frame.stamp_ns, pose_of[frame.frame_index]) for frame in graph.frames]
        found += [
            (frame.frame_index, frame.stamp_ns, frame.frame_from_keyframe @ pose_of[frame.keyframe_index])
            for frame in self._frames
        ]
        found.sort(key=lambda tracked: tracked[0])
        world_from_camera = se3_inverse(torch.stack([pose for _, _, pose in found])).numpy()
        return tuple(
            TrackedPose(frame_index, stamp_ns, world_from_camera[k])
            for k, (frame_index, stamp_ns, _) in enumerate(found)
        )
