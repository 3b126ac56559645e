"""Pickles of arrays, read without running what they name and without loading what is large.

A pickle may call any function of any library while it is read. Here numpy's arrays and plain
containers are all that it can make; arrays stay in the file until somebody asks for rows of them.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

__all__ = ["StoredArray", "StoredBytes", "read_array_pickle"]

_KEPT_BELOW = 1024  # bytes; shorter ones are loaded
_KINDS = "biufS"  # of arrays that are plain numbers, or bytes of one length
_BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class StoredBytes:
    """Bytes that lie in a file.

    Attributes:
        path: of the file.
        offset: of the first byte.
        size: their number.
    """

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Read them all."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array whose elements are in a file, or few.

    Attributes:
        shape: of the array.
        dtype: numbers, truth values or bytes of one length.
        order: "C" or "F", how the elements follow one another.
        data: the elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    data: bytes | StoredBytes

    def load(self) -> np.ndarray:
        """Load the whole array."""
        return np.array(self._view())

    def rows(self, indices: Sequence[int]) -> np.ndarray:
        """Load the elements at positions of the first axis, in this order."""
        return np.array(self._view()[list(indices)])

    def _view(self) -> np.ndarray:
        if isinstance(self.data, bytes):
            flat = np.frombuffer(self.data, self.dtype)
        else:
            flat = np.memmap(
                self.data.path, self.dtype, "r", self.data.offset, (math.prod(self.shape),)
            )
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


def read_array_pickle(path: Path) -> Any:
    """Read a pickle of dictionaries, lists, text, numbers and arrays.

    Args:
        path: the file.

    Returns:
        The same containers with a `StoredArray` for each array, a list for each array of objects,
        and `StoredBytes` for long bytes.

    Raises:
        ValueError: there is no such file, it is no pickle or a damaged one, or it names anything
            else, which is not run.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist; check the root of the data set")
    try:
        with path.open("rb") as file:
            return _finish(_ArrayUnpickler(file, path).load())
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is no pickle of arrays alone ({reason[:200]}); download it again"
        ) from error


class _Dtype:
    """What a pickle says of an array's type; numpy is asked once everything is known."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if any(each is not None for each in state[2:5]):
            raise ValueError(f"expected arrays of plain numbers, got a structured {self.code!r}")
        self.order = str(state[1])

    @property
    def is_object(self) -> bool:
        return self.code.startswith("O")

    def plain(self) -> np.dtype[Any]:
        dtype = np.dtype(self.code).newbyteorder(">" if self.order == ">" else "<")
        if dtype.kind not in _KINDS or not dtype.itemsize:
            raise ValueError(f"expected arrays of numbers, got {dtype}")
        return dtype


class _Array:
    """An array on its way through the pickle."""

    def __init__(self) -> None:
        self.state: tuple[Any, Any, bool, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.state = (shape, dtype, bool(is_fortran), data)

    def finish(self) -> StoredArray | list[Any]:
        if self.state is None:
            raise ValueError("an array has no elements")
        shape, dtype, is_fortran, data = self.state
        shape = tuple(int(size) for size in shape)
        if dtype.is_object:
            if len(shape) != 1 or not isinstance(data, list) or len(data) != shape[0]:
                raise ValueError("expected arrays of objects to be lists of them")
            return [_finish(each) for each in data]
        plain = dtype.plain()
        size = data.size if isinstance(data, StoredBytes) else len(data)
        if min(shape, default=0) < 0 or math.prod(shape) * plain.itemsize != size:
            raise ValueError(f"an array {list(shape)} of {plain} has {size} bytes")
        held = data if isinstance(data, StoredBytes) else bytes(data)
        return StoredArray(shape, plain, "F" if is_fortran else "C", held)


def _reconstruct(*_: Any) -> _Array:
    """Stand in for what numpy begins an array with; its state follows."""
    return _Array()


def _from_buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
    """Stand in for what makes an array in the newest protocol."""
    array = _Array()
    array.state = (shape, dtype, order == "F", data)
    return array


def _make_dtype(code: str, *_: Any) -> _Dtype:
    return _Dtype(str(code))


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for codecs.encode, with which old protocols write bytes."""
    if encoding != "latin1":
        raise ValueError(f"expected bytes as latin1, got {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stand in for bytes(), with which old protocols write none."""
    return b""


def _never(*_: Any) -> None:
    """Stand in for the class of arrays, which `_reconstruct` is given and does not call."""
    raise ValueError("expected arrays to be restored, not made")


_STAND_INS = {
    ("numpy", "ndarray"): _never,
    ("numpy", "dtype"): _make_dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _ArrayUnpickler(pickle._Unpickler):
    """The unpickler of the standard library that is written in Python, so that it can skip."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    append: Callable[[Any], None]  # the base class sets these when it loads
    read: Callable[[int], bytes]
    _unframer: Any

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self._file, self._path = file, path
        self._end = path.stat().st_size

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in of what the pickle names; nothing is imported."""
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not run")
        return stand_in

    def _take(self, size: int) -> None:
        """Put bytes on the stack, or where they lie if they are many."""
        if size < _KEPT_BELOW:
            self.append(self.read(size))
            return
        frame, offset = self._unframer.current_frame, self._file.tell()
        left = 0 if frame is None else len(frame.getbuffer()) - frame.tell()
        if left:  # the frame was read as a whole
            offset -= left
            frame.seek(size, 1)
        else:
            self._file.seek(size, 1)
        if offset + size > self._end or 0 < left < size:
            raise pickle.UnpicklingError("it ends within its bytes")
        self.append(StoredBytes(self._path, offset, size))

    def _load_bytes(self) -> None:
        self._take(struct.unpack("<I", self.read(4))[0])

    def _load_long_bytes(self) -> None:
        self._take(struct.unpack("<Q", self.read(8))[0])

    dispatch[pickle.BINBYTES[0]] = _load_bytes
    dispatch[pickle.BINBYTES8[0]] = _load_long_bytes
    dispatch[pickle.BYTEARRAY8[0]] = _load_long_bytes


def _finish(value: Any) -> Any:
    """Put arrays in the place of what they were read into."""
    if isinstance(value, _Array):
        return value.finish()
    if isinstance(value, dict):
        return {_finish(key): _finish(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finish(each) for each in value)
    if value is None or isinstance(value, str | bytes | int | float | StoredBytes):
        return value
    raise ValueError(f"expected arrays and plain values, got a {type(value).__name__}")
