"""What people type on the command line, and what the parser is given."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from model.arguments import as_parsed, option_kinds


@dataclass(frozen=True)
class Part:
    """A group of options."""

    bar: bool = True
    size: tuple[int, int] = (1, 1)
    name: str = ""


def command(out: str, arms: list[str], part: Part, only: bool = False, number: int = 1) -> None:
    """Nothing."""


COMMANDS = {"run": command, "train": command, "export": command, "data": {"_help": "x", "check": command}}


def test_switches_and_lists_are_told_from_the_types():
    assert option_kinds(command) == {"arms": list, "part.bar": bool, "part.size": list, "only": bool}


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("run -o here", "run --out here"),
        ("run x --only", "run x --only=true"),
        ("run --only x", "run --only=true x"),
        ("run --only false x", "run --only false x"),
        ("run --only=false", "run --only=false"),
        ("run --part.bar --number 3", "run --part.bar=true --number 3"),
        ("run --data.train-size=3 a-b", "run --data.train_size=3 a-b"),
        ("run --arms a,b", "run --arms [a,b]"),
        ("run --arms=a,b-c", "run --arms=[a,b-c]"),
        ("run --arms [a,b]", "run --arms [a,b]"),
        ("run --part.size 3,4", "run --part.size [3,4]"),
        ("data check here --only", "data check here --only=true"),
        ("data check", "data check -"),
        ("data check --only --number 3", "data check --only=true --number 3 -"),
        ("data check --number 3 here", "data check --number 3 here"),
        ("data check -", "data check -"),
        ("data check --help", "data check --help"),
        ("export --from-comparison DIR --out x", "export DIR --from_comparison=true --out x"),
        ("export --from-comparison=DIR", "export DIR --from_comparison=true"),
        ("export --name a --from-comparison DIR", "export DIR --name a --from_comparison=true"),
        ("export DIR --from_comparison=true", "export DIR --from_comparison=true"),
        ("nonsense --some-thing", "nonsense --some-thing"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_arguments_are_brought_to_one_form(typed, given):
    assert as_parsed(typed.split(), COMMANDS) == given.split()


def test_resume_begins_from_the_saved_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    assert as_parsed(["train", "--number", "2", "--resume", str(tmp_path)], COMMANDS) == [
        *("train", "--config", str(tmp_path / "config.yaml")),
        *("--number", "2", "--resume", str(tmp_path)),
    ]
