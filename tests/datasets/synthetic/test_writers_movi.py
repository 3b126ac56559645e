"""MOVi: records are read with a parser of their own, which checks every checksum bit by bit."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from vdit.datasets.synthetic.writers.movi import write_movi_npy, write_movi_tfrecord
from vdit.datasets.synthetic.writers.tfrecord import (
    crc32c,
    encode_example,
    encode_varints,
    mask_crc,
)


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def unmask(masked):
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def read_records(path):
    data, messages = path.read_bytes(), []
    while data:
        (length,), (length_crc,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert unmask(length_crc) == slow_crc32c(data[:8])
        message, data = data[12 : 12 + length], data[12 + length :]
        assert len(message) == length
        assert unmask(struct.unpack("<I", data[:4])[0]) == slow_crc32c(message)
        messages.append(message)
        data = data[4:]
    return messages


def read_varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def read_fields(data):
    place, fields = 0, []
    while place < len(data):
        tag, place = read_varint(data, place)
        assert tag & 7 == 2, "only fields with a length are used"
        length, place = read_varint(data, place)
        fields.append((tag >> 3, data[place : place + length]))
        assert len(fields[-1][1]) == length
        place += length
    return fields


def read_example(message):
    """Lists of values by name."""
    ((number, features),) = read_fields(message)
    assert number == 1
    result = {}
    for number, entry in read_fields(features):
        assert number == 1
        (_, name), (_, feature) = read_fields(entry)
        ((kind, body),) = read_fields(feature)
        values = [value for field, value in read_fields(body) if field == 1]
        if kind == 2:
            values = list(np.frombuffer(values[0], "<f4")) if values else []
        elif kind == 3:
            packed, place, values = values[0] if values else b"", 0, []
            while place < len(packed):
                value, place = read_varint(packed, place)
                values.append(value)
        result[name.decode()] = values
    return result


def read_pictures(blobs):
    return np.stack([np.array(Image.open(io.BytesIO(blob))) for blob in blobs])


@pytest.fixture
def features(clip, tmp_path):
    write_movi_tfrecord([("video_7", clip)], tmp_path)
    (message,) = read_records(tmp_path / "movi_e-train.tfrecord-00000-of-00001")
    return read_example(message)


def test_crc32c():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    data = np.random.default_rng(0).bytes(1000)
    assert crc32c(data) == slow_crc32c(data)
    assert unmask(mask_crc(0xE3069283)) == 0xE3069283


def test_varints():
    values = np.array([0, 1, 127, 128, 300, 65535, 2**31, 2**62], dtype=np.int64)
    data, place, found = encode_varints(values), 0, []
    while place < len(data):
        value, place = read_varint(data, place)
        found.append(value)
    assert found == values.tolist()
    assert encode_varints(np.zeros(0, int)) == b""


def test_example_of_tensorflow():
    # tf.train.Example with one int64 feature "a" = [1], written out by hand
    assert encode_example({"a": np.array([1])}).hex() == "0a0c0a0a0a016112051a030a0101"
    assert read_example(encode_example({"n": np.zeros(0, int)})) == {"n": []}
    with pytest.raises(ValueError, match="feature a is int64"):
        encode_example({"a": np.array([-1])})
    with pytest.raises(ValueError, match="feature a is complex128"):
        encode_example({"a": np.array([1j])})


def test_video_and_metadata(clip, features):
    np.testing.assert_array_equal(read_pictures(features["video"]), clip.frames)
    np.testing.assert_array_equal(read_pictures(features["segmentations"]), clip.instances)
    assert features["metadata/video_name"] == [b"video_7"]
    sizes = [features[f"metadata/{name}"] for name in ("num_frames", "height", "width")]
    assert sizes == [[4], [24], [32]]
    assert features["metadata/num_instances"] == [3]


def test_depth_is_the_distance_to_the_center(clip, features):
    stored = read_pictures(features["depth"])
    assert stored.dtype == np.uint16
    low, high = features["metadata/depth_range"]
    decoded = stored / 65535 * (high - low) + low
    y, x = np.mgrid[:24, :32] + 0.5
    stretch = np.sqrt(((x - 16) / 40) ** 2 + ((y - 12) / 40) ** 2 + 1)
    expected = np.where(np.isinf(clip.depth), 100.0, clip.depth * stretch)
    np.testing.assert_allclose(decoded, expected, atol=2e-3)
    assert np.abs(decoded - np.where(np.isinf(clip.depth), 100, clip.depth)).max() > 0.05


def test_flow_is_in_rows_and_columns(clip, features):
    stored = np.array(features["forward_flow"]).reshape(4, 24, 32, 2)
    low, high = features["metadata/forward_flow_range"]
    assert (low, high) == (-0.5, 4.0)
    decoded = stored / 65535 * (high - low) + low
    np.testing.assert_allclose(decoded[:3], clip.flow[..., ::-1], atol=1e-4)
    np.testing.assert_allclose(decoded[3], 0, atol=1e-4)


def test_instances(clip, features):
    lengths = features["instances/bboxes/ragged_row_lengths_0"]
    assert lengths == features["instances/bbox_frames/ragged_row_lengths_0"] == [3, 4, 2]
    boxes = np.array(features["instances/bboxes/ragged_flat_values"]).reshape(-1, 4)
    frames = features["instances/bbox_frames/ragged_flat_values"]
    assert frames == [0, 1, 3, 0, 1, 2, 3, 0, 1]
    for box, k, t in zip(boxes, np.repeat(np.arange(3), lengths), frames, strict=True):
        y1, x1, y2, x2 = box * [24, 32, 24, 32]
        np.testing.assert_allclose([x1, y1, x2, y2], clip.boxes_xyxy[k, t], atol=1e-4)
    visibility = np.array(features["instances/visibility"]).reshape(3, 4)
    np.testing.assert_array_equal(visibility, clip.masks.sum(axis=(2, 3)))
    assert features["instances/category"] == [0, 1, 0]
    assert features["instances/asset_id"][1] == b"striped_blue_ball"
    assert features["instances/is_dynamic"] == [1, 1, 0]
    places = np.array(features["instances/image_positions"]).reshape(3, 4, 2) * [32, 24]
    x, y, z = np.moveaxis(clip.positions - [0, -2, -7], -1, 0)
    np.testing.assert_allclose(places[..., 0], 40 * x / z + 16, rtol=1e-5)
    np.testing.assert_allclose(places[..., 1], 40 * y / z + 12, rtol=1e-5)


def test_camera_sees_the_positions(clip, features):
    """Kubric: z up, the camera looks along its own -z, quaternions (w, x, y, z)."""
    centers = np.array(features["camera/positions"]).reshape(4, 3)
    np.testing.assert_allclose(centers, [[0, -7, 2]] * 4, atol=1e-6)
    w, x, y, z = np.array(features["camera/quaternions"]).reshape(4, 4).T
    rotation = Rotation.from_quat(np.stack([x, y, z, w], axis=1)).as_matrix()
    points = np.array(features["instances/positions"]).reshape(3, 4, 3)
    seen = np.einsum("tji,ntj->nti", rotation, points - centers)
    focal_length, width = features["camera/focal_length"][0], features["camera/sensor_width"][0]
    u = seen[..., 0] / -seen[..., 2] * focal_length / width + 0.5
    v = 0.5 - seen[..., 1] / -seen[..., 2] * focal_length / (width * 24 / 32)
    places = np.array(features["instances/image_positions"]).reshape(3, 4, 2)
    np.testing.assert_allclose(np.stack([u, v], axis=-1), places, atol=1e-5)
    np.testing.assert_allclose(features["camera/field_of_view"], 2 * np.arctan(16 / 40), rtol=1e-6)


def test_shards_and_labels(make_clip, tmp_path):
    clips = [(f"v{number}", make_clip(seed=number)) for number in range(3)]
    write_movi_tfrecord(clips, tmp_path, split="validation", name="movi_c", num_shards=2)
    names = []
    for shard in range(2):
        path = tmp_path / f"movi_c-validation.tfrecord-0000{shard}-of-00002"
        names.append([read_example(m)["metadata/video_name"][0] for m in read_records(path)])
    assert names == [[b"v0", b"v2"], [b"v1"]]
    assert (tmp_path / "instances-category.labels.txt").read_text() == "cube\nball\n"


def test_labels_of_earlier_splits_stay(clip, tmp_path):
    (tmp_path / "instances-category.labels.txt").write_text("ball\n")
    write_movi_tfrecord([("v", clip)], tmp_path)
    (message,) = read_records(tmp_path / "movi_e-train.tfrecord-00000-of-00001")
    assert read_example(message)["instances/category"] == [1, 0, 1]
    assert (tmp_path / "instances-category.labels.txt").read_text() == "ball\ncube\n"


def test_too_many_shards_leave_none(clip, tmp_path):
    with pytest.raises(ValueError, match="1 clips came for num_shards=2"):
        write_movi_tfrecord([("v", clip)], tmp_path, num_shards=2)
    assert not list(tmp_path.glob("*tfrecord*"))
    with pytest.raises(ValueError, match="num_shards=0"):
        write_movi_tfrecord([("v", clip)], tmp_path, num_shards=0)


def test_hidden_objects_and_no_motion(empty_clip, tmp_path):
    empty_clip.flow[:] = 0
    write_movi_tfrecord([("v", empty_clip)], tmp_path)
    (message,) = read_records(tmp_path / "movi_e-train.tfrecord-00000-of-00001")
    found = read_example(message)
    assert found["instances/bboxes/ragged_flat_values"] == []
    assert found["instances/bboxes/ragged_row_lengths_0"] == [0, 0, 0]
    low, high = found["metadata/forward_flow_range"]
    assert np.all(np.array(found["forward_flow"]) / 65535 * (high - low) + low == 0)


def test_npy(clip, tmp_path):
    write_movi_npy([("video_0000", clip)], tmp_path, split="val")
    folder = tmp_path / "val/video_0000"
    arrays = {path.stem: np.load(path) for path in folder.iterdir()}
    assert set(arrays) == {"rgb", "segment", "depth", "forward_flow"}
    np.testing.assert_array_equal(arrays["rgb"], clip.frames)
    np.testing.assert_array_equal(arrays["segment"][..., 0], clip.instances)
    np.testing.assert_array_equal(arrays["forward_flow"][:3], clip.flow[..., ::-1])
    assert arrays["forward_flow"].shape == (4, 24, 32, 2)
    assert np.all(arrays["depth"][..., 0] >= np.minimum(clip.depth, 99.9))
