"""The life of tracks, with a scripted network that always knows where everybody is."""

import pytest
import torch

from vdit.models.track_queries import TrackerOutput
from vdit.tracking.following import as_detections, follow_by_overlap
from vdit.tracking.frame_tracks import join_frames, keep_best, shares_of
from vdit.tracking.iou_tracker import IouTracker
from vdit.tracking.public_detections import may_start
from vdit.tracking.query_tracker import QueryTracker, TrackerOptions

YES, NO = 4.0, -4.0


class Script:
    """Objects by frame: name -> center x; a state is the one-hot name, a box 0.1 wide.

    A track query finds its object wherever it is. An object query finds it only if no track query
    looks for it. `twins` are objects that object queries find although they are followed.
    """

    def __init__(self, frames, twins=(), score=YES):
        self.frames, self.twins, self.score = frames, twins, score
        self.asked = []

    def __call__(self, maps, tracks):
        here = self.frames[int(maps[0].max())]
        names = sorted({name for frame in self.frames for name in frame})
        followed = [] if tracks is None else tracks.states[0].argmax(dim=1).tolist()
        self.asked.append([names[n] for n in followed])
        rows = [(n, True) for n in followed]
        rows += [(n, n not in followed or names[n] in self.twins) for n in range(len(names))]
        states = torch.stack([torch.eye(len(names))[n] for n, _ in rows])
        logits = [self.score if names[n] in here and free else NO for n, free in rows]
        boxes = [[here.get(names[n], 0.5), 0.5, 0.1, 0.2] for n, _ in rows]
        return TrackerOutput(
            torch.tensor(logits)[None, None],
            torch.tensor(boxes)[None, None],
            states[None],
            len(followed),
        )


def run(script, given=None, **options):
    tracker = QueryTracker(script, TrackerOptions(**options))
    found = []
    for t in range(len(script.frames)):
        maps = [torch.full((1, 1, 1, 1), float(t))]
        frame = tracker.step(maps, None if given is None else given[t])
        centers = (frame.boxes_xyxy[:, 0] + frame.boxes_xyxy[:, 2]) / 2
        pairs = zip(frame.ids.tolist(), centers.tolist(), strict=True)
        found.append({identity: round(x, 3) for identity, x in pairs})
    return found


def test_birth_and_death():
    script = Script([{}, {"a": 0.2}, {"a": 0.3, "b": 0.8}, {"b": 0.7}, {"a": 0.5, "b": 0.6}])
    assert run(script) == [{}, {1: 0.2}, {1: 0.3, 2: 0.8}, {2: 0.7}, {2: 0.6, 3: 0.5}]
    assert script.asked == [[], [], ["a"], ["a", "b"], ["b"]]


@pytest.mark.parametrize(("patience", "hidden", "survives"), [(5, 5, True), (5, 6, False)])
def test_a_query_survives_an_occlusion(patience, hidden, survives):
    frames = [{"a": 0.2, "b": 0.8}, *[{"b": 0.8}] * hidden, {"a": 0.6, "b": 0.8}]
    found = run(Script(frames), inactive_patience=patience)
    assert found[0] == {1: 0.2, 2: 0.8} or found[0] == {1: 0.8, 2: 0.2}
    identity = next(i for i, x in found[0].items() if x == 0.2)
    assert all(list(frame.values()) == [0.8] for frame in found[1:-1])
    back = next(i for i, x in found[-1].items() if x == 0.6)
    assert (back == identity) == survives
    assert back in (identity, 3)


def test_who_is_away_is_asked_for_with_the_last_query():
    script = Script([{"a": 0.2}, {}, {}, {"a": 0.4}])
    assert run(script, inactive_patience=2) == [{1: 0.2}, {}, {}, {1: 0.4}]
    assert script.asked[1:] == [["a"]] * 3
    assert run(Script(script.frames), inactive_patience=1)[-1] == {2: 0.4}


def test_crossing_keeps_identities_where_overlap_does_not():
    xs = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    frames = [{"a": x, "b": round(1 - x, 3)} for x in xs]
    found = run(Script(frames), detection_nms=1.0, track_nms=1.0)
    for identity in (1, 2):
        path = [frame[identity] for frame in found]
        assert path in (xs, xs[::-1])
    boxes = [
        torch.tensor([[f["a"], 0.4, f["a"] + 0.2, 0.6], [f["b"], 0.4, f["b"] + 0.2, 0.6]])
        for f in frames
    ]
    named = list(follow_by_overlap([as_detections(each) for each in boxes], least_iou=0.1))
    first = [int(frame.ids[0]) for frame in named]
    assert len(set(first)) > 1  # a box that comes the other way is just as near


def test_thresholds():
    frames = [{"a": 0.2}, {"a": 0.3}]
    low = torch.logit(torch.tensor(0.39)).item()
    assert run(Script(frames, score=low)) == [{}, {}]
    assert run(Script(frames, score=low), detection_threshold=0.3) == [{1: 0.2}, {}]
    lenient = {"detection_threshold": 0.3, "track_threshold": 0.3}
    assert run(Script(frames, score=low), **lenient) == [{1: 0.2}, {1: 0.3}]


def test_twins_are_suppressed_beside_tracks_and_each_other():
    frames = [{"a": 0.2, "b": 0.2}, {"a": 0.3, "b": 0.8}]
    assert run(Script(frames, twins=("a", "b"))) == [{1: 0.2}, {1: 0.3, 2: 0.8}]
    followed_twice = run(Script(frames[:1] * 2, twins=("a",)), detection_nms=1.0)
    assert followed_twice == [{1: 0.2, 2: 0.2}, {1: 0.2}] or len(followed_twice[1]) <= 2
    together = [{"a": 0.2, "b": 0.6}, {"a": 0.4, "b": 0.4}, {"a": 0.2, "b": 0.6}]
    assert [len(frame) for frame in run(Script(together))][:2] == [2, 1]  # the worse one ends


def test_public_detections_decide_births_only():
    frames = [{"a": 0.2, "b": 0.8}, {"a": 0.3, "b": 0.7}, {"a": 0.4, "b": 0.6}]
    box = lambda x: [x - 0.05, 0.4, x + 0.05, 0.6]  # noqa: E731
    none = torch.empty(0, 4)
    public = [none, torch.tensor([box(0.31)]), none]
    for rule in ("center_distance", "min_iou_0_5"):
        found = run(Script(frames), public, public=rule)
        assert found == [{}, {1: 0.3}, {1: 0.4}]
    with pytest.raises(ValueError, match="expected public detections for the rule"):
        run(Script(frames), public="center_distance")


def test_a_public_box_serves_one_new_box():
    boxes = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.02, 0.0, 0.22, 0.2], [0.7, 0.7, 0.9, 0.9]])
    public = torch.tensor([[0.0, 0.0, 0.2, 0.21]])
    for rule in ("center_distance", "min_iou_0_5"):
        assert may_start(boxes, public, rule).tolist() == [True, False, False]
        assert may_start(boxes, public.repeat(2, 1), rule).tolist() == [True, True, False]
        assert may_start(boxes, public[:0], rule).tolist() == [False] * 3
        assert may_start(boxes[:0], public, rule).tolist() == []
    assert may_start(boxes, public, "none").all()
    far = public + 0.15  # IoU below a half, center less than the side away
    assert may_start(boxes[:1], far, "center_distance").tolist() == [False]
    near = public + torch.tensor([0.1, 0.0, 0.1, 0.0])
    assert may_start(boxes[:1], near, "center_distance").tolist() == [True]
    assert may_start(boxes[:1], near, "min_iou_0_5").tolist() == [False]
    with pytest.raises(ValueError, match="expected none, center_distance or min_iou_0_5"):
        may_start(boxes, public, "nearest")


def test_overlap_alone():
    tracker = IouTracker(least_iou=0.3, patience=1)
    step = lambda *xs: tracker.step(  # noqa: E731
        torch.tensor([[x, 0.0, x + 0.2, 0.2] for x in xs]).reshape(-1, 4), torch.ones(len(xs))
    ).ids.tolist()
    assert step(0.1, 0.5) == [1, 2]
    assert step(0.52, 0.12) == [2, 1]
    assert step(0.54) == [2]
    assert step(0.12, 0.9) == [1, 3]  # waited one frame
    assert step() == []
    assert step() == []
    assert step(0.9) == [4]
    with pytest.raises(ValueError, match="expected least_iou"):
        IouTracker(least_iou=0)


def test_pairs_are_chosen_together():
    tracker = IouTracker(least_iou=0.1)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.5, 1.0]])
    assert tracker.step(boxes, torch.ones(2)).ids.tolist() == [1, 2]
    moved = torch.tensor([[0.3, 0.0, 1.3, 1.0], [0.8, 0.0, 1.8, 1.0]])  # one by one: 2, 1
    assert tracker.step(moved, torch.ones(2)).ids.tolist() == [1, 2]


def test_rows_of_files_come_back():
    script = Script([{}, {"a": 0.2}, {"a": 0.3, "b": 0.8}])
    tracker = QueryTracker(script)
    frames = [tracker.step([torch.full((1, 1, 1, 1), float(t))]) for t in range(3)]
    tracks = join_frames(frames, (100, 200), first_frame=11)
    assert tracks.frames.tolist() == [12, 13, 13]
    torch.testing.assert_close(
        torch.from_numpy(tracks.boxes_xywh[0]).float(), torch.tensor([31.0, 41.0, 20.0, 20.0])
    )
    torch.testing.assert_close(shares_of(tracks, 13, (100, 200)), frames[2].boxes_xyxy)
    assert join_frames(frames[:1], (100, 200)).rows.shape == (0, 6)


def test_suppression():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9], [2.0, 0.0, 3.0, 1.0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    assert keep_best(boxes, scores, 0.8).tolist() == [1, 2]
    assert keep_best(boxes, scores, 0.95).tolist() == [1, 2, 0]
    assert keep_best(boxes[:0], scores[:0], 0.5).tolist() == []


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"expected track_nms in 0\.\.1, got 1.5"):
        TrackerOptions(track_nms=1.5)
    with pytest.raises(ValueError, match="expected inactive_patience >= 0, got -1"):
        TrackerOptions(inactive_patience=-1)
