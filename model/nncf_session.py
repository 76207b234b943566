"""NNCF imported and used: nothing is sent, nothing is printed, and what fails in it is told as ours."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from data.errors import ExportError, FcnError

if TYPE_CHECKING:
    from collections.abc import Iterator


def import_nncf() -> Any:  # noqa: ANN401  a module of an extra
    """NNCF, with nothing sent anywhere and nothing printed.

    On import it would write into the home directory and, on use, report to a server, for which it asks
    ``openvino_telemetry``; without that it does neither. It also makes its own logger the kind of all later ones.

    Raises:
        ExportError: it is not installed.
    """
    kind = logging.getLoggerClass()
    reporter = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = cast("Any", None)  # which makes its import fail
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nncf  # noqa: PLC0415  an extra, and seconds
    except ImportError as error:
        raise ExportError(
            f"int8 needs NNCF, which is not installed ({error.name}): pip install 'fcn-segmenter[int8]', or export "
            "without --int8"
        ) from error
    finally:
        logging.setLoggerClass(kind)
        del sys.modules["openvino_telemetry"]
        if reporter is not None:
            sys.modules["openvino_telemetry"] = reporter
    nncf.set_log_level(logging.ERROR)
    return nncf


@contextmanager
def told() -> Iterator[None]:
    """What fails within NNCF, which has errors of many kinds, as ours; ours as they are."""
    try:
        yield
    except FcnError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"NNCF cannot bring this network to int8 ({type(error).__name__}: {reason}): export it without --int8, and "
            "please report the encoder and versions"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """No bars of NNCF's on the terminal, which are drawn on rich's own console, and no hints for its authors."""
    from rich import get_console  # noqa: PLC0415  shared with nobody here: commands have a console of their own

    console, torch_logger = get_console(), logging.getLogger("torch.utils.cpp_extension")
    was_quiet, level = console.quiet, torch_logger.level
    console.quiet = True
    torch_logger.setLevel(logging.ERROR)  # it says that there is no CUDA to compile for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        console.quiet = was_quiet
        torch_logger.setLevel(level)
