"""The compiled library of the last step: model/runtime/tail_*.c."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_long

FORMS: Final = ("avx512", "avx2", "plain")
"""Of the step in 32-bit, for each generation of processors, the fastest first; the last one runs on any."""


@cache
def compiled() -> ctypes.CDLL | None:
    """The library; None where the installation found no compiler, or it was made on another machine."""
    folder = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"_tail{suffix}"
        if not path.is_file():
            continue
        try:
            found = ctypes.CDLL(str(path))
            for form in [form for form in (*FORMS, "bf16") if getattr(found, f"fcn_has_{form}")()]:
                getattr(found, f"fcn_label_{form}").argtypes = [*[_POINTER] * 3, *[_NUMBER] * 4, *[_POINTER] * 3]
                getattr(found, f"fcn_label_dense_{form}").argtypes = [*[_POINTER] * 2, *[_NUMBER] * 4, *[_POINTER] * 3]
                if form != "bf16":
                    getattr(found, f"fcn_label_phases_{form}").argtypes = [_POINTER, *[_NUMBER] * 6, *[_POINTER] * 3]
        except (OSError, AttributeError) as error:
            _LOG.warning("%s cannot be used (%s): the last upsampling runs inside the graph, slower", path, error)
            return None
        return found
    _LOG.warning(
        "model/runtime/tail_*.c is not compiled here: the last upsampling runs inside the graph, slower; "
        "with a C compiler (gcc or clang) there, install the package again"
    )
    return None


def library() -> ctypes.CDLL:
    """The library where there is one.

    Raises:
        RuntimeError: there is none.
    """
    found = compiled()
    if found is None:
        raise RuntimeError("the last step is not compiled on this machine")
    return found


def forms() -> list[str]:
    """Those of ``FORMS`` that this processor runs, the fastest first; none without the library."""
    found = compiled()
    return [] if found is None else [form for form in FORMS if getattr(found, f"fcn_has_{form}")()]


def has_bf16() -> bool:
    """Whether the library is there and this processor multiplies bf16 in pairs."""
    found = compiled()
    return found is not None and bool(found.fcn_has_bf16())


def address(array: NDArray[Any]) -> int:
    """Where an array's first entry lies."""
    return array.ctypes.data
