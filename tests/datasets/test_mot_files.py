"""Text files of MOTChallenge: what is read, written and refused."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vdit.datasets.mot_files import (
    BoxTracks,
    read_detections,
    read_results,
    read_sequence_info,
    read_truth,
    write_results,
)

TRUTH = """1,1,912,484,97,109,0,7,1
1,2,1338,418,167,379,1,1,1

3,2,1342.5,417,168,380,1,1,0.5
"""
RESULTS = """2,1,794.2,247.59,71.2,174.88,-1,-1,-1,-1
1,3,-5.5,10,20,30,0.75
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "boxes.txt"
        path.write_text(text)
        return path

    return write


def tracks(frames, ids, boxes=None, confidences=None):
    count = len(frames)
    boxes = np.tile([1.0, 2.0, 3.0, 4.0], (count, 1)) if boxes is None else np.array(boxes, float)
    confidences = np.ones(count) if confidences is None else np.array(confidences, float)
    return BoxTracks(np.array(frames, np.int64), np.array(ids, np.int64), boxes, confidences)


def test_truth(file):
    found = read_truth(file(TRUTH), "MOT17")
    assert found.frames.tolist() == [1, 1, 3]
    assert found.ids.tolist() == [1, 2, 2]
    assert found.boxes_xywh[2].tolist() == [1342.5, 417, 168, 380]
    assert found.counted.tolist() == [False, True, True]
    assert found.classes.tolist() == [7, 1, 1]
    assert found.visibility.tolist() == [1, 1, 0.5]
    assert found.rows[0].tolist() == [1, 1, 912, 484, 97, 109]


def test_truth_of_mot15_has_positions_in_the_world(file):
    found = read_truth(file("1,1,399,182,121,229,1,-1,-1,-1\n1,2,1,2,3,4,0,4.5,5.5,0\n"), "MOT15")
    assert found.classes.tolist() == [1, 1]
    assert found.counted.tolist() == [True, False]
    assert np.isnan(found.visibility).all()


def test_results_and_detections(file):
    found = read_results(file(RESULTS))
    assert found.ids.tolist() == [1, 3]
    assert found.confidences.tolist() == [-1, 0.75]
    assert found.rows[1].tolist() == [1, 3, -5.5, 10, 20, 30]
    found = read_detections(file("1,-1,1,2,3,4,0.9\n1,-1,5,6,7,8,0.8,-1,-1,-1\r\n"))
    assert found.ids.tolist() == [-1, -1]
    assert found.confidences.tolist() == [0.9, 0.8]


@pytest.mark.parametrize("read", [read_truth, read_results, read_detections])
@pytest.mark.parametrize("text", ["", "\n\n"])
def test_no_objects_at_all(file, read, text):
    assert read(file(text)).rows.shape == (0, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1,1,9,4,97,109,0\n",
            r"line 1 has 7 columns, expected 9 for true boxes of MOT17 \(frame, ",
        ),
        (TRUTH + "4,2,1,2,3\n", "line 5 has 5 columns, expected 9"),
        ("1,1,9,4,97,109,1,-1,-1,-1\n", "line 1 has 10 columns.*check which benchmark"),
        ("1;1;9;4;97;109;1;1;1\n", "line 1 has 1 columns"),
        ("1,1,9,x,97,109,1,1,1\n", "line 1 holds something else than numbers"),
        ("1,1,9,nan,97,109,1,1,1\n", "line 1 holds a number that is not finite"),
        ("0,1,9,4,97,109,1,1,1\n", "has the frame 0, expected frames from 1"),
        ("1.5,1,9,4,97,109,1,1,1\n", "has the frame 1.5, expected whole numbers"),
        ("1,1.5,9,4,97,109,1,1,1\n", "has the id 1.5, expected whole numbers"),
        ("1,1,9,4,97,109,1,14,1\n", r"has the class 14, expected 1\.\.13"),
        ("7,3,9,4,9,9,1,1,1\n7,3,8,4,9,9,1,1,1\n", "has the id 3 2 times in frame 7"),
    ],
)
def test_broken_truth(file, text, message):
    path = file(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_truth(path, "MOT17")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_errors(file, tmp_path):
    with pytest.raises(ValueError, match="has 9 columns, expected 10 for true boxes of MOT15"):
        read_truth(file(TRUTH), "MOT15")
    with pytest.raises(ValueError, match="expected MOT15, MOT16, MOT17 or MOT20, got 'KITTI'"):
        read_truth(file(TRUTH), "KITTI")
    with pytest.raises(ValueError, match="line 1 has 6 columns, expected 7 for results"):
        read_results(file("1,1,2,3,4,5\n"))
    with pytest.raises(ValueError, match="rather a file of detections"):
        read_results(file("1,-1,1,2,3,4,0.9\n1,-1,5,6,7,8,0.8\n"))
    with pytest.raises(ValueError, match="has the id 4 2 times in frame 1"):
        read_results(file("1,4,1,2,3,4,0.9\n1,4,5,6,7,8,0.8\n"))
    with pytest.raises(ValueError, match="does not exist"):
        read_results(tmp_path / "none.txt")


# ---- writing -----------------------------------------------------------------------------------


def test_lines_that_are_written(tmp_path):
    path = tmp_path / "results" / "MOT17-02-FRCNN.txt"
    boxes = [[1.5, 2, 3, 1e-7], [-10.25, 1e6, 3, 4], [1 / 3, 2, 3, 4]]
    write_results(path, tracks([2, 1, 1], [1, 12, 3], boxes, [1, 0.5, 0.25]))
    assert path.read_text().splitlines() == [
        "1,3,0.333333,2,3,4,0.25,-1,-1,-1",
        "1,12,-10.25,1000000,3,4,0.5,-1,-1,-1",
        "2,1,1.5,2,3,0,1,-1,-1,-1",
    ]


def test_no_objects_make_an_empty_file(tmp_path):
    path = tmp_path / "results.txt"
    write_results(path, tracks([], [], np.empty((0, 4))))
    assert path.read_text() == ""
    assert read_results(path).rows.shape == (0, 6)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.tuples(st.integers(1, 20), st.integers(0, 5)),
        st.lists(st.floats(-1e5, 1e5), min_size=5, max_size=5),
    )
)
def test_what_is_written_is_read(tmp_path, boxes):
    path = tmp_path / "results.txt"
    keys, values = list(boxes), np.array(list(boxes.values())).reshape(-1, 5)
    write_results(
        path, tracks([f for f, _ in keys], [i for _, i in keys], values[:, :4], values[:, 4])
    )
    found = read_results(path)
    order = sorted(range(len(keys)), key=lambda k: keys[k])
    assert list(zip(found.frames.tolist(), found.ids.tolist(), strict=True)) == sorted(keys)
    np.testing.assert_allclose(found.boxes_xywh, values[order, :4], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.confidences, values[order, 4], rtol=0, atol=1e-6)


def test_errors_of_writing_leave_the_old_file(tmp_path):
    path = tmp_path / "results.txt"
    path.write_text("old")
    for bad, message in (
        (tracks([1], [-1]), "ids from 0, got 1 and -1"),
        (tracks([0], [1]), "frames from 1 and ids from 0, got 0 and 1"),
        (tracks([1, 1], [2, 2]), "has the id 2 2 times in frame 1"),
        (tracks([1], [2], [[np.inf, 0, 1, 1]]), "finite boxes"),
    ):
        with pytest.raises(ValueError, match=message):
            write_results(path, bad)
    assert path.read_text() == "old"


# ---- seqinfo.ini -------------------------------------------------------------------------------


def test_sequence_info(file):
    text = "[Sequence]\nname=MOT17-02-FRCNN\nimDir=img1\nframeRate=30\nseqLength=600\n"
    found = read_sequence_info(file(text))
    assert (found.name, found.num_frames) == ("MOT17-02-FRCNN", 600)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gives no name and seqLength"),
        ("name=x\nseqLength=3\n", "gives no name and seqLength"),
        ("[Sequence]\nname=x\n", "gives no name and seqLength"),
        ("[Sequence]\nname=x\nseqLength=many\n", "gives no name and seqLength"),
        ("[Sequence]\nname=x\nseqLength=0\n", "seqLength is 0"),
    ],
)
def test_broken_sequence_info(file, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_sequence_info(file(text))
    assert "\n" not in str(caught.value)
