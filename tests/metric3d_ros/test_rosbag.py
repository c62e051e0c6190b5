from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from recordings import CAMERA, FrameList, made_up_drive, textured_image
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from metric3d_ros import bag_topics
from metric3d_ros.camera import PinholeCamera
from metric3d_ros.datasets.frame import Frame
from metric3d_ros.datasets.rosbag import BagReader, BagWriter, Recording, messages, write_source
from metric3d_ros.datasets.rosbag.frame_batches import frame_batches
from metric3d_ros.datasets.rosbag.recovery import recover_mcap
from metric3d_ros.errors import CameraError, DatasetError, ImageError
from metric3d_ros.quaternion import rotation_from_quaternion


def require_same_frames(path: Path, source: FrameList) -> None:
    with BagReader(path) as frames:
        assert len(frames) == len(source)
        np.testing.assert_array_equal(frames.stamps_ns, source.stamps_ns)
        for frame, expected in zip(frames, source.frames, strict=True):
            assert frame.stamp_ns == expected.stamp_ns
            assert frame.camera == expected.camera
            np.testing.assert_array_equal(frame.image, expected.image)
            np.testing.assert_array_equal(frame.depth_m, expected.depth_m)
            np.testing.assert_allclose(frame.world_from_camera, expected.world_from_camera, atol=1e-12)
        assert frames.world_from_camera is not None
        np.testing.assert_allclose(frames.world_from_camera, source.world_from_camera, atol=1e-12)


@pytest.mark.parametrize("name", ["drive.mcap", "drive"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("gray", [False, True])
def test_round_trip_is_identical(tmp_path: Path, name: str, compressed: bool, gray: bool) -> None:
    source = made_up_drive(gray=gray)
    assert write_source(source, tmp_path / name, compressed=compressed, progress=False) == 4
    require_same_frames(tmp_path / name, source)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_obeys_the_mcap_library_and_the_ros_decoder(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    source = made_up_drive()
    write_source(source, path, progress=False)
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert reader.get_header().profile == "ros2"
        qos = {channel.topic: channel.metadata["offered_qos_profiles"] for channel in summary.channels.values()}
        schemas = {schema.name: schema.encoding for schema in summary.schemas.values()}
        by_topic: dict[str, list[Any]] = {}
        for _, channel, message, decoded in reader.iter_decoded_messages():
            by_topic.setdefault(channel.topic, []).append((message, decoded))
    assert set(schemas.values()) == {"ros2msg"}
    assert "transient_local" in qos[bag_topics.TF_STATIC]
    assert "transient_local" not in qos[bag_topics.IMAGE]
    assert {topic: len(found) for topic, found in by_topic.items()} == {
        bag_topics.TF_STATIC: 1,
        bag_topics.IMAGE: 4,
        bag_topics.CAMERA_INFO: 4,
        bag_topics.REFERENCE_DEPTH: 4,
        bag_topics.REFERENCE_DEPTH_INFO: 4,
        bag_topics.GROUND_TRUTH: 4,
        bag_topics.TF: 4,
    }
    truth, moved = by_topic[bag_topics.GROUND_TRUTH][2][1], by_topic[bag_topics.TF][2][1].transforms[0]
    assert (moved.header.frame_id, moved.child_frame_id) == ("odom", "camera_link_ground_truth")
    assert str(moved.header.stamp) == str(truth.header.stamp)
    for axis in "xyz":
        assert getattr(moved.transform.translation, axis) == getattr(truth.pose.pose.position, axis)
    assert str(moved.transform.rotation) == str(truth.pose.pose.orientation)
    stamped, image = by_topic[bag_topics.IMAGE][2]
    info = by_topic[bag_topics.CAMERA_INFO][2][1]
    assert stamped.log_time == source.stamps_ns[2]
    assert str(info.header) == str(image.header)
    assert image.header.frame_id == "camera_optical_frame"
    assert (image.encoding, image.step, len(image.data)) == ("rgb8", 3 * image.width, image.step * image.height)
    assert list(info.k) == CAMERA.matrix().ravel().tolist()
    assert list(info.p) == [CAMERA.fx, 0, CAMERA.cx, 0, 0, CAMERA.fy, CAMERA.cy, 0, 0, 0, 1, 0]
    assert (list(info.d), list(info.r)) == ([], np.eye(3).ravel().tolist())
    transforms = by_topic[bag_topics.TF_STATIC][0][1].transforms
    assert [(t.header.frame_id, t.child_frame_id) for t in transforms] == [
        ("base_link", "camera_link"),
        ("camera_link", "camera_optical_frame"),
    ]


def test_ground_truth_has_robot_axes() -> None:
    forward = np.eye(4)
    forward[:3, 3] = [0.5, -0.25, 10.0]  # right, up, forward of the optical frame
    first = made_up_drive().frames[3].world_from_camera
    assert first is not None
    odom_from_link = bag_topics.odom_from_optical(first @ forward, first)
    np.testing.assert_allclose(odom_from_link[:3, 3], [10.0, -0.5, 0.25], atol=1e-12)
    np.testing.assert_allclose(bag_topics.odom_from_optical(first, first), np.eye(4), atol=1e-12)


def test_static_transform_and_axis_change_agree(tmp_path: Path) -> None:
    write_source(made_up_drive(1), tmp_path / "drive.mcap", progress=False)
    with Recording(tmp_path / "drive.mcap") as recording:
        (stored,) = recording.messages([bag_topics.TF_STATIC])
        optical = recording.deserialize(stored).transforms[1].transform.rotation
    rotation = rotation_from_quaternion(np.array([optical.x, optical.y, optical.z, optical.w]))
    np.testing.assert_allclose(rotation @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation @ [1, 0, 0], [0, -1, 0], atol=1e-12)


def test_black_frame_of_a_colour_camera_stays_colour(tmp_path: Path) -> None:
    source = made_up_drive(2)
    source.frames[1] = dataclasses.replace(source.frames[1], image=np.zeros_like(source.frames[1].image))
    write_source(source, tmp_path / "drive.mcap", progress=False)
    with Recording(tmp_path / "drive.mcap") as recording:
        images = [recording.deserialize(stored) for stored in recording.messages([bag_topics.IMAGE])]
    assert [image.encoding for image in images] == ["rgb8", "rgb8"]


def test_source_without_truth_or_depth_is_written_without(tmp_path: Path) -> None:
    source = made_up_drive(2, depth=False)
    source.frames = [dataclasses.replace(frame, world_from_camera=None) for frame in source.frames]
    write_source(source, tmp_path / "drive.mcap", progress=False)
    with BagReader(tmp_path / "drive.mcap") as frames:
        assert frames[0].depth_m is None
        assert frames.world_from_camera is None
        assert set(Recording(tmp_path / "drive.mcap").topics) == {
            bag_topics.IMAGE,
            bag_topics.CAMERA_INFO,
            bag_topics.TF_STATIC,
        }


def test_max_frames_and_depth_on_request(tmp_path: Path) -> None:
    assert write_source(made_up_drive(), tmp_path / "d.mcap", max_frames=2, with_depth=False, progress=False) == 2
    with BagReader(tmp_path / "d.mcap") as frames:
        assert len(frames) == 2
        assert frames[1].depth_m is None


class PartlyBroken(FrameList):
    """A source whose second frame does not decode."""

    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise ImageError("000001.png is cut short")
        return super().__getitem__(index)


def test_broken_frame_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = made_up_drive()
    assert write_source(PartlyBroken(source.frames), tmp_path / "drive.mcap", progress=False) == 3
    assert "000001.png" in caplog.text
    with BagReader(tmp_path / "drive.mcap") as frames:
        np.testing.assert_array_equal(frames.stamps_ns, source.stamps_ns[[0, 2, 3]])


@pytest.mark.parametrize("name", ["drive.mcap", "drive"])
def test_interrupted_writing_leaves_nothing(tmp_path: Path, name: str) -> None:
    source = made_up_drive()
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / name) as bag:
        bag.write(source[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_interrupted_writing_keeps_the_bag_that_was_there(tmp_path: Path) -> None:
    source = made_up_drive()
    write_source(source, tmp_path / "drive.mcap", progress=False)
    with pytest.raises(ZeroDivisionError), BagWriter(tmp_path / "drive.mcap") as bag:
        bag.write(source[0])
        raise ZeroDivisionError
    require_same_frames(tmp_path / "drive.mcap", source)


def test_existing_folder_and_missing_parent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    with pytest.raises(DatasetError, match="exists already"):
        BagWriter(tmp_path / "drive")
    with pytest.raises(DatasetError, match="there is no folder"):
        BagWriter(tmp_path / "missing" / "drive.mcap")


def test_bag_without_frames_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no frame"), BagWriter(tmp_path / "drive.mcap"):
        pass
    assert list(tmp_path.iterdir()) == []


def large_drive(count: int = 8) -> FrameList:
    """Frames of half a megabyte, so that a bag has several chunks."""
    camera = PinholeCamera(480, 360, 300.0, 300.0, 239.5, 179.5)
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (360, 480, 3), dtype=np.uint8) for _ in range(count)]
    return FrameList([Frame(i, (i + 1) * 10**8, image, camera) for i, image in enumerate(images)])


@pytest.mark.parametrize("folder", [False, True])
def test_truncated_bag_is_read_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: bool
) -> None:
    source = large_drive()
    write_source(source, tmp_path / ("drive" if folder else "drive.mcap"), progress=False)
    path = next((tmp_path / "drive").glob("*.mcap")) if folder else tmp_path / "drive.mcap"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with BagReader(path.parent if folder else path) as frames:
        assert 4 <= len(frames) < len(source)
        for frame, expected in zip(frames, source.frames, strict=False):
            assert frame.stamp_ns == expected.stamp_ns
            np.testing.assert_array_equal(frame.image, expected.image)
            assert frame.camera == expected.camera
    assert "is truncated" in caplog.text and "bytes are lost" in caplog.text


def test_recovered_copy_is_removed_with_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    path = tmp_path / "drive.mcap"
    write_source(made_up_drive(), path, progress=False)
    path.write_bytes(path.read_bytes()[:-1])
    with Recording(path) as recording:
        assert recording.recovered is not None
        assert recording.recovered.is_all
        assert recording.recovered.messages == 25
        assert len(list((tmp_path / "copies").iterdir())) == 1
    assert list((tmp_path / "copies").iterdir()) == []


def test_recovered_file_obeys_the_mcap_library(tmp_path: Path) -> None:
    source = large_drive()
    write_source(source, tmp_path / "drive.mcap", progress=False)
    cut = tmp_path / "cut.mcap"
    cut.write_bytes((tmp_path / "drive.mcap").read_bytes()[:2_000_000])
    found = recover_mcap(cut, tmp_path / "whole.mcap")
    with (tmp_path / "whole.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        times_ns = [message.log_time for _, _, message, _ in reader.iter_decoded_messages()]
    assert len(times_ns) == found.messages > 3
    assert (min(times_ns), max(times_ns)) == (found.first_ns, found.last_ns)
    assert not found.is_all
    assert 0 < found.lost_bytes < 1_100_000


@pytest.mark.parametrize("size", [9, 100, 1000])
def test_truncated_bag_without_a_whole_message_says_so(tmp_path: Path, size: int) -> None:
    path = tmp_path / "drive.mcap"
    write_source(made_up_drive(), path, progress=False)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatasetError, match="truncated and holds no whole message"):
        BagReader(path)
    with pytest.raises(DatasetError, match="no whole message"):
        recover_mcap(path, tmp_path / "whole.mcap")
    assert [found.name for found in tmp_path.iterdir()] == ["drive.mcap"]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_compressed_images_round_trip(tmp_path: Path, image_format: Any, gray: bool) -> None:
    source = made_up_drive(gray=gray)
    if image_format == "jpeg":  # noise is not what JPEG is for
        smooth = [cv2.GaussianBlur(frame.image, (0, 0), 3) for frame in source.frames]
        source.frames = [
            dataclasses.replace(frame, image=image) for frame, image in zip(source.frames, smooth, strict=True)
        ]
    write_source(source, tmp_path / "drive.mcap", image_format=image_format, progress=False)
    if image_format == "png":
        require_same_frames(tmp_path / "drive.mcap", source)
    with BagReader(tmp_path / "drive.mcap") as frames:
        assert frames.image_topic == "/camera/image_rect/compressed"
        assert frames.camera == CAMERA
        error = np.abs(frames[1].image.astype(int) - source.frames[1].image).mean()
        assert error == 0 if image_format == "png" else error < 4
    with Recording(tmp_path / "drive.mcap") as recording:
        stored = next(iter(recording.messages([bag_topics.COMPRESSED_IMAGE])))
        expected = f"mono8; {image_format} compressed mono8" if gray else f"rgb8; {image_format} compressed bgr8"
        assert recording.deserialize(stored).format == expected


def test_raw_images_are_taken_where_their_compressed_twin_is_there_too(tmp_path: Path) -> None:
    recorded = foreign_recording()
    kind = messages.TYPESTORE.types[messages.COMPRESSED_IMAGE_TYPE]
    png = cv2.imencode(".png", textured_image(9)[..., ::-1])[1].ravel()
    twin = kind(header=messages.header(10**9, "cam"), format="png", data=png)
    recorded.append(("/cam/image_raw/compressed", 1_400_000_000, twin))
    with BagReader(write_messages(tmp_path / "bag", recorded)) as frames:
        assert frames.image_topic == "/cam/image_raw"


def test_damaged_middle_is_an_error_of_that_bag(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    write_source(made_up_drive(), path, compressed=True, progress=False)
    content = bytearray(path.read_bytes())
    content[500:4000] = bytes(3500)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"drive\.mcap"):
        list(BagReader(path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.txt", b"x", "is not a bag"), ("a.mcap", b"not mcap at all", "cannot be read"), ("a.mcap", b"", "cannot")],
)
def test_what_is_no_bag_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        Recording(tmp_path / name)


def test_missing_bag_and_plain_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no bag at"):
        Recording(tmp_path / "missing.mcap")
    with pytest.raises(DatasetError, match=r"metadata\.yaml"):
        Recording(tmp_path)


def write_messages(
    path: Path, recorded: list[tuple[str, int, Any]], plugin: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """A bag of any messages, as another recorder would leave it."""
    with Writer(path, version=9, storage_plugin=plugin) as bag:
        connections: dict[str, Any] = {}
        for topic, log_time_ns, message in recorded:
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, message.__msgtype__, typestore=messages.TYPESTORE)
            raw = messages.TYPESTORE.serialize_cdr(message, message.__msgtype__)
            bag.write(connections[topic], log_time_ns, raw)
    return path


def foreign_recording(topic: str = "/cam/image_raw", info: str = "/cam/camera_info") -> list[tuple[str, int, Any]]:
    recorded = []
    for index in range(3):
        stamp_ns = 1_000_000_000 + index * 100_000_000
        bgr = textured_image(index)[..., ::-1]
        camera = dataclasses.replace(CAMERA, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
        recorded.append((info, stamp_ns + 4_000_000, messages.camera_info_message(stamp_ns, camera)))
        recorded.append((topic, stamp_ns + 5_000_000, messages.image_message(stamp_ns, bgr, "bgr8")))
    return recorded


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_bag_of_another_recorder_is_read(tmp_path: Path, plugin: StoragePlugin) -> None:
    path = write_messages(tmp_path / "bag", foreign_recording(), plugin)
    with BagReader(path) as frames:
        assert frames.image_topic == "/cam/image_raw"
        np.testing.assert_array_equal(frames.stamps_ns, [10**9, 11 * 10**8, 12 * 10**8])
        np.testing.assert_array_equal(frames[1].image, textured_image(1))
        assert frames[1].camera.distortion == (0.1, 0.0, 0.0, 0.0, 0.0)
        assert frames[1].world_from_camera is None


def test_ros_1_bag_is_read(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](sec=7, nanosec=5)
    header = types["std_msgs/msg/Header"](seq=3, stamp=stamp, frame_id="cam")
    pixels = textured_image(4)
    image = types[messages.IMAGE_TYPE](header, 24, 64, "rgb8", 0, 192, pixels.ravel())
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    projection = np.column_stack([CAMERA.matrix(), np.zeros(3)])
    matrices = [np.zeros(5), CAMERA.matrix().ravel(), np.eye(3).ravel(), projection.ravel()]
    info = types[messages.CAMERA_INFO_TYPE](header, 24, 64, "plumb_bob", *matrices, 0, 0, roi)
    with Ros1Writer(tmp_path / "drive.bag") as bag:
        for topic, message in (("/cam/image_rect_color", image), ("/cam/camera_info", info)):
            connection = bag.add_connection(topic, message.__msgtype__, typestore=store)
            bag.write(connection, 8 * 10**9, store.serialize_ros1(message, message.__msgtype__))
    with BagReader(tmp_path / "drive.bag") as frames:
        np.testing.assert_array_equal(frames[0].image, pixels)
        assert frames[0].stamp_ns == 7_000_000_005
        assert frames.camera == CAMERA


def test_compressed_images_are_read(tmp_path: Path) -> None:
    recorded = foreign_recording()
    kind = messages.TYPESTORE.types[messages.COMPRESSED_IMAGE_TYPE]
    png = cv2.imencode(".png", textured_image(9)[..., ::-1])[1].ravel()
    header = messages.header(1_100_000_000, "cam")
    recorded = [entry for entry in recorded if entry[0] == "/cam/camera_info"]
    recorded.append(("/cam/image_raw/compressed", 1_200_000_000, kind(header=header, format="png", data=png)))
    with BagReader(write_messages(tmp_path / "bag", recorded)) as frames:
        np.testing.assert_array_equal(frames[0].image, textured_image(9))


def test_bag_without_camera_info_is_refused(tmp_path: Path) -> None:
    images = [entry for entry in foreign_recording() if entry[0] == "/cam/image_raw"]
    with pytest.raises(DatasetError, match="no camera_info on /cam/camera_info"):
        BagReader(write_messages(tmp_path / "bag", images))


def test_bag_without_images_is_refused(tmp_path: Path) -> None:
    infos = [entry for entry in foreign_recording() if entry[0] == "/cam/camera_info"]
    with pytest.raises(DatasetError, match="it has none"):
        BagReader(write_messages(tmp_path / "bag", infos))


def test_two_cameras_must_be_told_apart(tmp_path: Path) -> None:
    recorded = foreign_recording() + foreign_recording("/other/image_raw", "/other/camera_info")
    path = write_messages(tmp_path / "bag", recorded)
    with pytest.raises(DatasetError, match="/cam/image_raw, /other/image_raw"):
        BagReader(path)
    with BagReader(path, image_topic="/other/image_raw") as frames:
        assert frames.camera_info_topic == "/other/camera_info"
    with pytest.raises(DatasetError, match="no images on /third"):
        BagReader(path, image_topic="/third")


def test_zero_focal_length_and_wrong_sizes_are_named(tmp_path: Path) -> None:
    recorded = foreign_recording()
    recorded[0][2].k[0] = 0.0
    with pytest.raises(CameraError, match=r"/cam/camera_info.*fx is 0"):
        BagReader(write_messages(tmp_path / "zero", recorded))
    recorded = foreign_recording()
    recorded[2][2].width = 70
    with BagReader(write_messages(tmp_path / "size", recorded)) as frames:
        assert frames[0].image.shape == (24, 64, 3)
        with pytest.raises(ImageError, match="64x24 px but its camera_info says 70x24"):
            frames[1]


def test_unknown_encoding_and_short_data_cost_that_frame(tmp_path: Path) -> None:
    recorded = foreign_recording()
    recorded[1][2].encoding = "nv21_odd"
    recorded[3][2].data = recorded[3][2].data[:100]
    with BagReader(write_messages(tmp_path / "bag", recorded)) as frames:
        with pytest.raises(ImageError, match="nv21_odd"):
            frames[0]
        with pytest.raises(ImageError, match="truncated"):
            frames[1]
        np.testing.assert_array_equal(frames[2].image, textured_image(2))


def test_batches_hold_one_frame_each_and_lose_nothing(tmp_path: Path) -> None:
    path = write_messages(tmp_path / "bag", foreign_recording())
    with Recording(path) as recording:
        topics = list(recording.topics)
        batches = list(frame_batches(recording, topics, "/cam/image_raw"))
        assert [batch.image_stamp_ns for batch in batches] == [None, 10**9, 11 * 10**8, 12 * 10**8]
        played = [message for batch in batches for message in batch.messages]
        assert played == list(recording.messages(topics))


def test_messages_of_one_time_stay_together(tmp_path: Path) -> None:
    source = made_up_drive()
    write_source(source, tmp_path / "drive.mcap", progress=False)
    with Recording(tmp_path / "drive.mcap") as recording:
        batches = list(frame_batches(recording, list(recording.topics), bag_topics.IMAGE))
    assert [batch.image_stamp_ns for batch in batches] == source.stamps_ns.tolist()
    assert [len(batch.messages) for batch in batches] == [7, 6, 6, 6]
    assert all(len({message.log_time_ns for message in batch.messages}) == 1 for batch in batches)
