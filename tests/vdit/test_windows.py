"""Windows cover a stream of any length, each item in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdit.windows import sliding_windows


@given(st.integers(0, 60), st.integers(1, 12), st.data())
def test_windows_cover_the_stream(length, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    windows = list(sliding_windows(range(length), size, overlap))
    assert [w.is_last for w in windows] == [False] * (len(windows) - 1) + [True] * bool(windows)
    seen = 0
    for window in windows:
        assert window.items == list(range(window.start, window.start + len(window.items)))
        assert len(window.items) == min(size, length)
        assert window.start + window.num_known == seen
        assert window.num_known >= overlap or window.start == 0
        assert len(window.items) > window.num_known
        seen = window.start + len(window.items)
    assert seen == length


@pytest.mark.parametrize("length", [1, 35, 36])
def test_a_short_clip_is_one_window(length):
    (window,) = sliding_windows(range(length), 36, 8)
    assert window.is_last
    assert window.items == list(range(length))


def test_the_stream_is_read_no_further_than_needed():
    stream = iter(range(100))
    next(sliding_windows(stream, 10, 2))
    assert next(stream) == 18, "a window and what the next one adds"
