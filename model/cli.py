"""The command line: fcn train, compare, evaluate, export, register, push, predict, explain, data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jsonargparse import auto_cli
from rich.console import Console
from rich.text import Text

from data.errors import FcnError, StoppedError
from model.arguments import as_parsed
from model.commands.fetching import data_download
from model.commands.learning import compare, evaluate, export, train
from model.commands.using import data_check, data_import, explain, predict, push, register

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; faults that a person can mend are printed in one line.

    Args:
        arguments: Without the program's name; the process's own by default.

    Returns:
        Exit status: 0, 1 for a fault, 2 for a wrong option, 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Any] = {
        "train": train,
        "compare": compare,
        "evaluate": evaluate,
        "export": export,
        "register": register,
        "push": push,
        "predict": predict,
        "explain": explain,
        "data": {
            "_help": "Look at labelled data, import or fetch them.",
            "check": data_check,
            "import": data_import,
            "download": data_download,
        },
    }
    try:
        status = auto_cli(
            commands,
            args=as_parsed(given, commands),
            prog="fcn",
            description=__doc__.splitlines()[0],
            allow_abbrev=False,  # a typing error is no shorter name
        )
    except FcnError as error:
        _complain(str(error))
        return 130 if isinstance(error, StoppedError) else 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"", "data", "model", "service"}:
            raise  # a fault of ours
        _complain(f"this command needs {missing}, which is not installed: pip install 'fcn-segmenter[train]'")
        return 1
    except KeyboardInterrupt:
        return 130
    return int(status or 0)


def _complain(fault: str) -> None:
    """One line on standard error."""
    Console(stderr=True).print(Text.assemble(("error:", "red"), f" {fault}"), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
