import numpy as np
import pytest
from PIL import Image

from vdit.charts import Line, save_bars, save_heat_map, save_lines, save_panels

LINES = {"up1": [(2, 0.3), (1, 0.1)], "up2": [(1, 0.2)]}


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_lines_are_drawn_in_the_order_of_x(tmp_path):
    for name, pairs in {
        "a": [(1, 0.1), (2, 0.3), (3, 0.2)],
        "b": [(3, 0.2), (1, 0.1), (2, 0.3)],
    }.items():
        save_lines(tmp_path / f"{name}.png", {"s": pairs}, xlabel="t", ylabel="J")
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    assert len(np.unique(pixels(tmp_path / "a.png").reshape(-1, 3), axis=0)) > 10


def test_spread_changes_the_picture(tmp_path):
    save_lines(tmp_path / "a.png", LINES, xlabel="t", ylabel="J")
    spreads = {"up1": [0.1, 0.1], "up2": [0.0]}
    save_lines(tmp_path / "b.png", LINES, xlabel="t", ylabel="J", spreads=spreads)
    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_panels_are_joined_as_given_and_may_be_empty(tmp_path):
    def draw(name, points, **more):
        panels = {"J": {"V": Line(points, **more), "I": Line([(1, 0.2)])}, "F": {"V": Line([])}}
        save_panels(tmp_path / f"{name}.png", panels, xlabel="t")
        return pixels(tmp_path / f"{name}.png")

    plain = draw("a", [(1, 0.1), (3, 0.3), (2, 0.2)])
    assert not np.array_equal(plain, draw("b", [(1, 0.1), (2, 0.2), (3, 0.6)]))
    ordered = [(1, 0.1), (3, 0.3), (2, 0.0)]
    assert not np.array_equal(draw("c", ordered), draw("d", sorted(ordered)))
    assert not np.array_equal(plain, draw("e", [(1, 0.1), (3, 0.3), (2, 0.2)], notes=["x", "", ""]))
    spreads = [0.1, float("nan"), 0.0]
    assert not np.array_equal(plain, draw("f", [(1, 0.1), (3, 0.3), (2, 0.2)], spreads=spreads))
    with pytest.raises(ValueError, match="expected numbers to draw"):
        save_panels(tmp_path / "g.png", {"J": {"V": Line([])}}, xlabel="t")


def test_bars_may_lack_in_a_group(tmp_path):
    save_bars(
        tmp_path / "bars.svg", {"J": {"ours": 0.5, "copy": 0.3}, "F": {"ours": 0.6}}, ylabel=""
    )
    assert "<svg" in (tmp_path / "bars.svg").read_text()


def test_heat_map_has_empty_cells(tmp_path):
    values = np.array([[0.1, np.nan], [0.3, 0.4]])
    save_heat_map(
        tmp_path / "map.pdf",
        values,
        rows=["up1", "up2"],
        columns=["0", "100"],
        xlabel="t",
        ylabel="",
    )
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")


def test_wrong_requests_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        save_lines(tmp_path / "a.png", {"s": []}, xlabel="", ylabel="")
    with pytest.raises(ValueError, match=r"\.png, \.pdf, \.svg, got .*a\.jpg"):
        save_bars(tmp_path / "a.jpg", {"J": {"ours": 1.0}}, ylabel="")
    with pytest.raises(ValueError, match=r"\[1, 2\].*\[2, 1\]"):
        save_heat_map(
            tmp_path / "a.png",
            np.ones((2, 1)),
            rows=["a"],
            columns=["b", "c"],
            xlabel="",
            ylabel="",
        )
    assert not list(tmp_path.iterdir())
