"""Outputs that appear only once they are complete.

A file or a folder is written under a temporary name beside its final one and renamed at the end,
so an interrupted run leaves nothing behind that looks finished.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

__all__ = ["replace_folder_when_complete", "replace_when_complete"]

_FILE_RIGHTS = 0o666  # to read and write, of which the user's mask leaves some


@contextlib.contextmanager
def replace_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of `path` if the block succeeds.

    Missing parent folders are created. The temporary file lies in the same folder and keeps the
    extension of `path`, so that libraries that look at the extension write the right format. When
    the block raises, the temporary file is removed and an older `path` stays as it was.

    Args:
        path: the final file. A symbolic link is followed.

    Yields:
        The temporary file, which exists and is empty.

    Raises:
        ValueError: `path` is a folder or cannot be written.

    >>> import tempfile
    >>> final = Path(tempfile.mkdtemp()) / "scores.json"
    >>> with replace_when_complete(final) as temporary:
    ...     _ = temporary.write_text("[1, 2]")
    ...     final.exists()
    False
    >>> final.read_text()
    '[1, 2]'
    """
    final = Path(os.path.realpath(path))
    if final.is_dir():
        raise ValueError(f"{path} is a folder, expected the name of a file to write; pass another")
    temporary = _temporary_name(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        rights = temporary.stat().st_mode & _FILE_RIGHTS
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        try:
            _open_up(temporary, rights)
            os.replace(temporary, final)
        except OSError as error:
            raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_folder_when_complete(
    path: str | os.PathLike[str], own: Sequence[str] | None = None
) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the place of `path` if the block succeeds.

    An older folder `path` is replaced as a whole: nothing of it remains. When the block raises, the
    temporary folder is removed and the older one stays as it was.

    Args:
        path: the final folder. A symbolic link is followed.
        own: patterns of the names that such an output has, as of a shell, one that is always there
            first. For folders that a user names: an older one with anything else in it is refused
            before any work, and () asks for a new or empty one. None = the caller knows that what
            is there may go.

    Yields:
        The temporary folder, which exists and is empty.

    Raises:
        ValueError: `path` is a file, holds what is not `own`, or cannot be written.
    """
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_dir():
        raise ValueError(f"{path} is a file, expected the name of a folder to write; pass another")
    if own is not None and final.exists():
        _expect_own(path, sorted(entry.name for entry in final.iterdir()), own)
    temporary = _temporary_name(final)
    try:
        temporary.mkdir(parents=True)
        rights = temporary.stat().st_mode & _FILE_RIGHTS
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        try:
            for written in temporary.rglob("*"):
                if written.is_file() and not written.is_symlink():
                    _open_up(written, rights)
            _exchange_folder(temporary, final)
        except OSError as error:
            raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _expect_own(path: str | os.PathLike[str], found: Sequence[str], own: Sequence[str]) -> None:
    """Refuse to replace anything but an older output of the same kind."""
    others = [name for name in found if not any(fnmatch(name, pattern) for pattern in own)]
    if found and not others and not any(fnmatch(name, own[0]) for name in found):
        others = list(found)
    if others:
        older = ", or an older output of the same kind" if own else ""
        raise ValueError(
            f"expected a new or empty folder{older}, got {path}, which holds "
            f"{', '.join(others[:3])}; pass another"
        )


def _exchange_folder(complete: Path, final: Path) -> None:
    """A folder cannot be renamed onto a filled one, so the old one steps aside for a moment."""
    if not final.exists():
        os.rename(complete, final)
        return
    aside = _temporary_name(final)
    os.rename(final, aside)
    try:
        os.rename(complete, final)
    except OSError:
        os.rename(aside, final)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _open_up(path: Path, rights: int) -> None:
    """Give a file ordinary rights; safetensors leaves files that only their owner can read."""
    found = path.stat().st_mode
    if rights & ~found:
        path.chmod(rights | found)


def _temporary_name(final: Path) -> Path:
    """A hidden name beside `final` with its extension."""
    return final.with_name(f".partial-{uuid.uuid4().hex[:12]}{final.suffix}")


def _unwritable(path: str | os.PathLike[str], error: OSError) -> ValueError:
    return ValueError(
        f"{path} cannot be written ({error.strerror or error}); pass a path in a folder that you "
        "may write to"
    )
