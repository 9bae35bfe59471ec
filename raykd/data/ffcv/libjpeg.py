"""Functions of libjpeg-turbo and libc as symbols that cached numba code can call; ctypes pointers forbid the cache."""

import ctypes
import ctypes.util

import llvmlite.binding
from numba.core import types

from raykd import UserError


def turbojpeg() -> ctypes.CDLL:
    """The TurboJPEG library, which FFCV is linked to as well; raises UserError if it is missing."""
    path = ctypes.util.find_library("turbojpeg") or "libturbojpeg.so.0"
    try:
        return ctypes.CDLL(path)
    except OSError:
        raise UserError(
            "libturbojpeg is missing: install it (Debian: apt install libturbojpeg0), or use --data.loader torch"
        ) from None


def _external(library: ctypes.CDLL, name: str, result: types.Type, *arguments: types.Type) -> types.ExternalFunction:
    symbol = f"raykd_{name}"
    llvmlite.binding.add_symbol(symbol, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    return types.ExternalFunction(symbol, result(*arguments))


_turbo, _libc = turbojpeg(), ctypes.CDLL(None)
_int, _size, _pointer = types.int32, types.uint64, types.uintp
init_decompress = _external(_turbo, "tjInitDecompress", _pointer)
destroy = _external(_turbo, "tjDestroy", _int, _pointer)
decompress = _external(_turbo, "tjDecompress2", _int, _pointer, _pointer, _size, _pointer, _int, _int, _int, _int, _int)
decompress_planes = _external(
    _turbo, "tjDecompressToYUVPlanes", _int, _pointer, _pointer, _size, _pointer, _int, _pointer, _int, _int
)
read_header = _external(
    _turbo, "tjDecompressHeader3", _int, _pointer, _pointer, _size, _pointer, _pointer, _pointer, _pointer
)
read_at = _external(_libc, "pread64", types.int64, _int, _pointer, _size, types.int64)
find_byte = _external(_libc, "memchr", _pointer, _pointer, _int, _size)
