from vdit.frame_sizes import output_size


def test_released_sizes():
    assert output_size((480, 854), 360) == (360, 640)
    assert output_size((854, 480), 360) == (640, 360)
    assert output_size((721, 1279), 360) == (360, 638)
    assert output_size((480, 1200), 360, 640) == (256, 640)
    assert output_size((480, 854), 360, 640) == (360, 640)
