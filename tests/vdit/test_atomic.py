from __future__ import annotations

import pytest

from vdit.atomic import replace_folder_when_complete, replace_when_complete


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_only_at_the_end(tmp_path):
    final = tmp_path / "new" / "deep" / "scores.json"
    with replace_when_complete(final) as temporary:
        assert temporary.parent == final.parent
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        assert not final.exists()
    assert final.read_text() == "new"
    assert names(final.parent) == ["scores.json"]


def test_failed_file_leaves_the_old_one(tmp_path):
    final = tmp_path / "scores.json"
    final.write_text("old")

    def interrupted():
        with replace_when_complete(final) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert final.read_text() == "old"
    assert names(tmp_path) == ["scores.json"]


def test_file_has_the_rights_of_an_ordinary_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with replace_when_complete(tmp_path / "replaced"):
        pass
    assert (tmp_path / "replaced").stat().st_mode == ordinary.stat().st_mode


def test_what_a_library_keeps_to_its_owner_gets_ordinary_rights(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with replace_when_complete(tmp_path / "weights") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    with replace_folder_when_complete(tmp_path / "model") as folder:
        (folder / "unet").mkdir()
        (folder / "unet" / "weights").touch(mode=0o600)
    for written in (tmp_path / "weights", tmp_path / "model" / "unet" / "weights"):
        assert written.stat().st_mode == ordinary.stat().st_mode


def test_link_is_followed(tmp_path):
    target = tmp_path / "target.txt"
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    with replace_when_complete(link) as temporary:
        temporary.write_text("text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match=r"file/x\.txt cannot be written \(.+\); pass a path"),
        replace_when_complete(tmp_path / "file" / "x.txt"),
    ):
        pass
    with pytest.raises(ValueError, match="is a folder, expected"), replace_when_complete(tmp_path):
        pass


def test_folder_replaces_the_whole_old_one(tmp_path):
    final = tmp_path / "masks"
    final.mkdir()
    (final / "old.png").touch()
    with replace_folder_when_complete(final) as temporary:
        (temporary / "new.png").touch()
        assert names(final) == ["old.png"]
    assert names(final) == ["new.png"]
    assert names(tmp_path) == ["masks"]


def test_failed_folder_leaves_the_old_one(tmp_path):
    final = tmp_path / "masks"
    final.mkdir()
    (final / "old.png").touch()

    def failing():
        with replace_folder_when_complete(final) as temporary:
            (temporary / "new.png").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert names(final) == ["old.png"]
    assert names(tmp_path) == ["masks"]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match="is a file, expected the name of a folder"),
        replace_folder_when_complete(tmp_path / "file"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="cannot be written"),
        replace_folder_when_complete(tmp_path / "file" / "masks"),
    ):
        pass


def replace_own(folder):
    with replace_folder_when_complete(folder, ("result.json", "*.png")) as temporary:
        (temporary / "result.json").write_text("new")


@pytest.mark.parametrize("older", [None, [], ["result.json"], ["result.json", "0.png"]])
def test_an_older_output_is_replaced(tmp_path, older):
    folder = tmp_path / "out"
    if older is not None:
        folder.mkdir()
    for name in older or []:
        (folder / name).write_text("old")
    replace_own(folder)
    assert names(folder) == ["result.json"]
    assert (folder / "result.json").read_text() == "new"


@pytest.mark.parametrize("older", [["result.json", "thesis.tex"], ["0.png"], ["thesis.tex"]])
def test_a_folder_with_anything_else_is_kept(tmp_path, older):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in older:
        (folder / name).write_text("mine")
    with pytest.raises(ValueError, match=f"which holds {older[-1]}"):
        replace_own(folder)
    assert names(folder) == sorted(older)
    assert names(tmp_path) == ["out"]


def test_a_folder_that_has_to_be_empty(tmp_path):
    (tmp_path / "data").touch()
    with (
        pytest.raises(ValueError, match=r"a new or empty folder, got .* which holds data"),
        replace_folder_when_complete(tmp_path, ()),
    ):
        pass
    assert (tmp_path / "data").exists()
