"""Arguments: what people type on the command line, brought to the one form that the parser takes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TRUTHS = frozenset({"true", "false", "yes", "no", "on", "off"})


def as_parsed(arguments: Sequence[str], commands: Mapping[str, Any]) -> list[str]:
    """Rewrite arguments for the parser, which knows long options with underscores and a value each.

    ``-o`` stands for ``--out``; ``--report-only`` for ``--report_only=true``, as does a bare ``--report_only``;
    ``--strides 32,8`` for ``--strides [32,8]``; ``data check`` for ``data check -``; ``export --from-comparison DIR``
    for ``export DIR --from_comparison=true``; and ``train --resume RUN`` begins from RUN/config.yaml, so that options
    given beside it override what was saved.

    Args:
        arguments: Without the program's name.
        commands: Name to function, or to more commands.

    Returns:
        The arguments as the parser takes them.
    """
    depth, function = _command(arguments, commands)
    if function is None:
        return list(arguments)
    head, tail = list(arguments[:depth]), list(arguments[depth:])
    kinds = option_kinds(function)
    if head == ["export"]:
        tail = _with_comparison_first(tail)
    rewritten: list[str] = []
    for index, argument in enumerate(tail):
        if argument == "-o":
            rewritten.append("--out")
            continue
        if not argument.startswith("--"):
            before = rewritten[-1] if rewritten else ""
            rewritten.append(_bracketed(argument) if kinds.get(before.removeprefix("--")) is list else argument)
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        following = tail[index + 1].lower() if index + 1 < len(tail) else ""
        if kinds.get(name) is bool and not equals and following not in _TRUTHS:
            equals, value = "=", "true"
        elif kinds.get(name) is list and equals:
            value = _bracketed(value)
        rewritten.append(f"--{name}{equals}{value}")
    if head == ["data", "check"] and not _has_positional(rewritten):
        rewritten.append("-")  # no folder: the source knows where to look
    return head + (_with_saved_config(rewritten) if head == ["train"] else rewritten)


def option_kinds(function: Callable[..., object]) -> dict[str, type]:
    """Names of the options that are switches (bool) or lists (list), those of dataclasses as ``fit.progress``.

    Args:
        function: Of a command.
    """
    return _kinds(get_type_hints(function), "")


def _kinds(hints: Mapping[str, Any], prefix: str) -> dict[str, type]:
    found: dict[str, type] = {}
    for name, hint in hints.items():
        if hint is bool:
            found[prefix + name] = bool
        elif get_origin(hint) in (list, tuple):
            found[prefix + name] = list
        elif isinstance(hint, type) and is_dataclass(hint):
            known = get_type_hints(hint)
            found |= _kinds({field.name: known[field.name] for field in fields(hint)}, f"{prefix}{name}.")
    return found


def _command(arguments: Sequence[str], commands: Mapping[str, Any]) -> tuple[int, Callable[..., object] | None]:
    """How many arguments name the command, and its function; None where they name none."""
    known: Any = commands
    for depth, argument in enumerate(arguments, start=1):
        known = known.get(argument)
        if callable(known):
            return depth, known
        if known is None:
            break
    return 0, None


def _has_positional(arguments: list[str]) -> bool:
    """Whether an argument is no option and no option's value; help is answered before anything is missed."""
    if "--help" in arguments or "-h" in arguments:
        return True
    takes_next = False
    for argument in arguments:
        if (argument == "-" or not argument.startswith("-")) and not takes_next:
            return True
        takes_next = argument.startswith("--") and "=" not in argument
    return False


def _bracketed(value: str) -> str:
    return value if value.startswith("[") else f"[{value}]"


def _with_comparison_first(arguments: list[str]) -> list[str]:
    """The folder of ``--from-comparison DIR`` as what is exported."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name not in ("--from-comparison", "--from_comparison") or value in _TRUTHS:
            continue
        rest = arguments[index + 1 :]
        if not equals and rest and not rest[0].startswith("-") and rest[0] not in _TRUTHS:
            value, rest = rest[0], rest[1:]
        if value:
            return [value, *arguments[:index], "--from_comparison=true", *rest]
    return arguments


def _with_saved_config(arguments: list[str]) -> list[str]:
    for index, argument in enumerate(arguments):
        value = argument.partition("=")[2] if argument.startswith("--resume=") else None
        if argument == "--resume" and index + 1 < len(arguments):
            value = arguments[index + 1]
        if value and (Path(value) / "config.yaml").is_file():
            return ["--config", str(Path(value) / "config.yaml"), *arguments]
    return arguments
