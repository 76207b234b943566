"""`fcn explain`: its numbers are right, in the terminal, as text and in the page, and bad options are told."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn import functional

from data.errors import ConfigError, RunError
from model.cli import main
from model.explain.blocks import Row, Table, by_value, count, matrix_grid, number
from model.explain.checkerboard import whole_strides
from model.explain.example import Example, read_kernel
from model.explain.interpolation import interpolate, line_kernel, upsample
from model.explain.learning import TOLD, descend
from model.explain.lesson import chapters
from model.explain.page import beside, write_page
from model.explain.terminal import COLOURS, print_lesson
from model.upsample import bilinear_kernel
from tests.test_compare_report import Page
from tests.test_torch_free import run_without_training_packages

PLAIN = Example(read_kernel(2), (3, 3))


def printed(example: Example, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_lesson(chapters(example), console)
    return console.file.getvalue()


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def told() -> str:
    return printed(PLAIN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("explain") / "deep" / "page"
    assert main(["explain", "--out", str(root)]) == 0
    return root


def grids(example: Example, chapter: str) -> dict[str, np.ndarray]:
    """Values of the grids of a chapter, by title."""
    (found,) = (part for part in chapters(example) if part.name == chapter)
    return {grid.title: grid.values for block in found.blocks if isinstance(block, Row) for grid in block.grids}


def table(example: Example, chapter: str) -> dict[str, tuple[str, ...]]:
    (found,) = (part for part in chapters(example) if part.name == chapter)
    (only,) = (block for block in found.blocks if isinstance(block, Table))
    return {row[0]: row[1:] for row in only.rows}


def test_the_4x9_matrix_is_printed_in_names_and_in_numbers(told: str) -> None:
    lines = [line.strip() for line in told.splitlines()]
    start = lines.index("C, 4×9")
    assert lines[start + 1 : start + 5] == [
        "│ w00 w01   · w10 w11   ·   ·   ·   · │",
        "│   · w00 w01   · w10 w11   ·   ·   · │",
        "│   ·   ·   · w00 w01   · w10 w11   · │",
        "│   ·   ·   ·   · w00 w01   · w10 w11 │",
    ]
    numbers = [line for line in lines if line.startswith("│ 1 2 · 3 4 · · · · │")]
    assert numbers == ["│ 1 2 · 3 4 · · · · │     │ 3 │     │ 37 │"]
    assert "First row: 1·1 + 2·2 + 3·4 + 4·5 = 37." in squeezed(told)
    assert "16 of its 36 entries (44 %)" in squeezed(told)


def test_the_transpose_brings_the_shape_back_and_not_the_values(told: str) -> None:
    found = grids(PLAIN, "transpose")
    assert found["Cᵀ, 9×4"].shape == (9, 4)
    assert found["y"].tolist() == [[37, 47], [67, 77]]
    assert found["Cᵀ y"].tolist() == [[37, 121, 94], [178, 500, 342], [201, 499, 308]]
    torchs = functional.conv_transpose2d(torch.tensor([[[[37.0, 47], [67, 77]]]]), torch.tensor([[[[1.0, 2], [3, 4]]]]))
    assert found["Cᵀ y"].tolist() == torchs[0, 0].tolist()
    text = squeezed(told)
    assert "3×3 → 2×2 → 3×3. The shape comes back, the values do not." in text
    assert "pixel 4 was 5 and comes back as 500" in text
    assert "C has rank 4, so of the 9 numbers of a picture 5 are lost" in text


def test_a_kernel_and_picture_of_ones_own_are_worked_out_as_torch_does() -> None:
    kernel = [[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]
    example = Example(read_kernel(kernel), (4, 6), stride=2, padding=1, dilation=2)
    x = torch.arange(1.0, 25, dtype=torch.float64).reshape(1, 1, 4, 6)
    weight = torch.tensor(kernel, dtype=torch.float64)[None, None]
    y = functional.conv2d(x, weight, stride=2, padding=1, dilation=2)
    back = functional.conv_transpose2d(
        y, weight, stride=2, padding=1, dilation=2, output_padding=example.output_padding
    )
    assert back.shape == x.shape
    assert example.output_size == tuple(y.shape[2:])
    assert np.allclose(grids(example, "convolution")["convolution y"], y[0, 0].numpy())
    assert np.allclose(grids(example, "transpose")["Cᵀ y"], back[0, 0].numpy())
    assert "With stride 2 the way back is ambiguous" in squeezed(printed(example))


def test_the_output_padding_told_is_the_one_that_torch_needs() -> None:
    for kernel, side, stride, padding in product((1, 2, 3), (4, 5, 6, 7), (2, 3), (0, 1)):
        example = Example(read_kernel(kernel), (side, side + 1), stride, padding)
        y = torch.zeros(1, 1, *example.output_size)
        back = functional.conv_transpose2d(
            y, torch.zeros(1, 1, kernel, kernel), stride=stride, padding=padding, output_padding=example.output_padding
        )
        assert tuple(back.shape[2:]) == (side, side + 1)


def test_settings_are_told_with_the_shapes_that_torch_gives() -> None:
    rows = table(PLAIN, "geometry")
    assert rows["plain"] == ("4×4 → 3×3", "9×16", "36", "4×4")
    assert rows["stride 2"] == ("4×4 → 2×2", "4×16", "16", "4×4")
    assert rows["padding 1"] == ("4×4 → 5×5", "25×16", "64", "4×4")
    assert rows["dilation 2"] == ("4×4 → 2×2", "4×16", "16", "4×4")
    assert rows["stride 2, 5×5"] == ("5×5 → 2×2", "4×25", "16", "4×4, with output padding 1 5×5")
    found = grids(PLAIN, "geometry")
    ones = torch.ones(1, 1, 2, 2)
    for more in (0, 1):
        torchs = functional.conv_transpose2d(ones, torch.ones(1, 1, 3, 3), stride=2, padding=1, output_padding=more)
        assert found[f"output padding {more}"].tolist() == torchs[0, 0].tolist()
    torchs = functional.conv_transpose2d(ones, torch.ones(1, 1, 3, 3), stride=2, output_padding=1)
    assert found["padding 0, output padding 1"].tolist() == torchs[0, 0].tolist()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
def test_interpolation_written_out_is_torchs_and_the_transpose_gives_it_borders_too(factor: int) -> None:
    coarse = np.random.default_rng(factor).normal(size=(3, 5))
    torchs = functional.interpolate(
        torch.tensor(coarse)[None, None], scale_factor=factor, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    written = interpolate(interpolate(coarse, factor, 0), factor, 1)
    assert np.allclose(written, torchs)
    assert np.allclose(upsample(coarse, factor, repeat=True), torchs)
    bare = upsample(coarse, factor, repeat=False)
    rim = factor // 2
    inside = (slice(rim, 3 * factor - rim), slice(rim, 5 * factor - rim))
    assert np.allclose(bare[inside], torchs[inside])
    if factor > 1:
        assert np.abs(bare - torchs).max() > 0.1
    taps = line_kernel(factor)
    assert np.allclose(np.outer(taps, taps), bilinear_kernel(factor).numpy())


def test_the_line_of_the_bilinear_chapter_is_interpolation(told: str) -> None:
    text = squeezed(told)
    torchs = functional.interpolate(torch.tensor([[[2.0, 6.0, 4.0]]]), scale_factor=2, mode="linear")[0, 0]
    assert torchs.tolist() == [2, 3, 5, 5.5, 4.5, 4]
    assert "becomes 2, 3, 5, 5.5, 4.5, 4: interpolation, ends too" in text
    assert "1.5 instead of 2, 3 instead of 4" in text
    rows = table(PLAIN, "bilinear")
    assert rows["edge repeated by one pixel"] == ("0", "0")
    assert rows["nothing beyond the edge"] == ("0", "4.375")


def test_a_random_kernel_learns_to_interpolate_as_torchs_gradient_descent_would() -> None:
    kernels = descend(TOLD[-1])
    start = torch.tensor(kernels[0].copy(), requires_grad=True)
    coarse = torch.tensor(np.random.default_rng(0).normal(size=(4, 1, 8, 8)))
    wanted = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    padded = functional.pad(coarse, (1, 1, 1, 1), mode="replicate")
    loss = (functional.conv_transpose2d(padded, start[None, None], stride=2, padding=3) - wanted).square().mean() / 2
    loss.backward()
    assert start.grad is not None
    step = (kernels[0] - kernels[1]) / start.grad.numpy()
    assert np.allclose(step, step[0, 0])  # one and the same rate for all taps: the gradient is torch's
    assert step[0, 0] > 0
    rows = table(PLAIN, "learning")
    errors = [float(rows[str(number)][0]) for number in TOLD]
    assert errors == sorted(errors, reverse=True)
    assert float(rows["0"][0]) == pytest.approx(float((2 * loss.detach()).sqrt()), rel=0.05)
    assert errors[-1] < 1e-3
    assert float(rows["0"][2]) > 0.1
    assert float(rows["20"][2]) < 1e-4
    assert np.allclose(kernels[-1], bilinear_kernel(2).numpy(), atol=1e-4)


def test_phase_sums_and_checkerboards_are_those_of_a_constant_map() -> None:
    rows = table(Example(read_kernel(3), (7, 7), 3), "checkerboard")
    assert rows["3×3 of ones"] == ("2", "4, 2, 2, 1", number(np.std([4, 2, 2, 1]) / 2.25))
    assert rows["4×4 of ones"] == ("2", "4, 4, 4, 4", "0")
    assert rows["4×4 bilinear"] == ("2", "1, 1, 1, 1", "0")
    assert rows["4×4, 1 2 3 1 both ways"] == ("2", "16, 12, 12, 9", number(np.std([16, 12, 12, 9]) / 12.25))
    assert rows["yours, 3×3"][:2] == ("3", "1, 2, 3, 4, 5, 6, 7, 8, 9")
    inside = grids(PLAIN, "checkerboard")
    for side in (3, 4):
        torchs = functional.conv_transpose2d(torch.ones(1, 1, 9, 9), torch.ones(1, 1, side, side), stride=2)
        found = inside[f"kernel {side}, stride 2"]
        assert found.tolist() == torchs[0, 0, 4:10, 4:10].tolist()
    assert whole_strides(np.ones((3, 4)), 2).shape == (4, 4)


def test_inserting_zeros_gives_the_same_and_its_multiplications_are_told() -> None:
    found = grids(PLAIN, "costs")
    torchs = functional.conv_transpose2d(
        torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.arange(1.0, 10).reshape(1, 1, 3, 3), stride=2
    )
    assert found["answer"].tolist() == torchs[0, 0].tolist()
    assert found["w, flipped"].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    assert int((found["zeros inserted"] != 0).sum()) == 4
    parts = [found[f"{row}, {column}"] for row, column in product(("even", "odd"), repeat=2)]
    assert [part.tolist() for part in parts] == [[[1, 3], [7, 9]], [[2], [8]], [[4, 6]], [[5]]]
    for (row, column), part in zip(product((0, 1), repeat=2), parts, strict=True):
        coarse, taps = torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor(part.copy())[None, None].float()
        small = functional.conv_transpose2d(coarse, taps)
        assert found["answer"][row::2, column::2].tolist() == small[0, 0].tolist()
    text = squeezed(printed(PLAIN))
    assert "interleaved: 9, 6, 6 and 4 pixels" in text
    assert "25 places × 9 taps = 225 multiplications, of which 36 have no inserted zero" in text
    rows = table(PLAIN, "costs")
    assert rows["×8"] == ("262 144", "1 048 576", "16 384", "14 400", "64")
    assert rows["yours"] == ("36", "36", "16", "16", "2.25")


def test_colours_follow_the_taps_through_the_matrix() -> None:
    grid = matrix_grid("C", np.array([[5.0, 5.0], [5.0, 5.0]]), (3, 3))  # equal numbers, four colours
    assert grid.colours.tolist()[0] == [0, 1, -1, 2, 3, -1, -1, -1, -1]
    assert matrix_grid("", np.ones((1, 2)), (1, 3), transposed=True).colours.tolist() == [[0, -1], [1, 0], [-1, 1]]
    assert by_value("", np.array([[1.0, 4.0], [0.0, 1.0]])).colours.tolist() == [[1, 0], [-1, 1]]
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor", no_color=False)
    print_lesson(chapters(PLAIN)[:1], console)
    written = console.file.getvalue()
    for index, name in enumerate(("w00", "w01", "w10", "w11")):
        red, green, blue = (int(COLOURS[index][at : at + 2], 16) for at in (1, 3, 5))
        assert len(re.findall(rf"38;2;{red};{green};{blue}m{name}", written)) == 5  # the kernel and four places


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for example in (PLAIN, Example(read_kernel(3), (7, 7), 2, 1), Example(read_kernel(2), (8, 8))):
        assert max(map(len, printed(example, width).splitlines())) <= width


def test_a_matrix_too_large_to_print_is_counted_all_the_same() -> None:
    text = squeezed(printed(Example(read_kernel(2), (5000, 5000))))
    assert "24 990 001 rows and 25 000 000 columns" in text
    assert "99 960 004 of its 6.2 × 10^14 entries" in text
    assert "is counted here and not printed" in text
    assert "w00" not in text.split("What stride")[0]
    huge = squeezed(printed(Example(read_kernel(1024), (10**9, 10**9), 10**6)))
    assert "1 000 000 places, 1 000 down and 1 000 across" in huge


def test_a_larger_matrix_is_shown_as_a_pattern() -> None:
    text = printed(Example(read_kernel(2), (7, 7)))
    assert "│ ■■·····■■········································ │" in text


def test_a_kernel_that_changes_nothing_is_told_as_such() -> None:
    text = squeezed(printed(Example(read_kernel([[1.0]]), (2, 2))))
    assert "and here the values too" in text
    assert "C has rank 4 of 4" in text
    doubled = squeezed(printed(Example(read_kernel([[2.0]]), (2, 2))))
    assert "C has the full rank 4" in doubled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernel=5"], "a 5x5 kernel with dilation 1 does not fit a 3x3 picture"),
        (["--kernel=2", "--dilation=3"], "does not fit a 3x3 picture"),
        (["--stride=0"], "stride is 0: at least 1"),
        (["--padding=-1"], "padding is -1: at least 0"),
        (["--dilation=0"], "dilation is 0: at least 1"),
        (["--size=0"], "does not fit a 0x0 picture"),
        (["--size=[-3,4]"], "does not fit a -3x4 picture"),
        (["--kernel=0"], "a side from 1 to 1024"),
        (["--kernel=5000", "--size=9000"], "a side from 1 to 1024"),
        (["--kernel=[[1,2],[3]]"], "rows of 2, 1 numbers"),
        (["--kernel=[]"], "rows of no numbers"),
        (["--kernel=[[.nan,1]]"], "not finite"),
        (["--kernel=[[1.0e+200]]"], "beyond 1e+100"),
    ],
)
def test_options_that_make_no_convolution_get_one_line_and_exit_status_1(options, message, capsys) -> None:
    assert main(["explain", *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("options", [["--kernel=x"], ["--size=[1,2,3]"], ["--kernels=3"]])
def test_options_that_are_no_numbers_exit_with_2(options, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["explain", *options])
    assert stopped.value.code == 2


def test_a_long_kernel_from_python_is_refused() -> None:
    with pytest.raises(ConfigError, match="1024 to a side at most"):
        Example(np.ones((1, 2000)), (1, 3000))


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["explain", f"--out={tmp_path / 'file' / 'page'}"]) == 1
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises(RunError, match="cannot be written"):
        write_page(chapters(PLAIN), tmp_path / "file", "fcn explain")


def test_the_page_is_whole_and_needs_nothing_from_anywhere(folder) -> None:
    text = (folder / "explain.html").read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    assert not parsed.open
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "script" not in parsed.tags
    assert all(address.startswith("#") for address in parsed.addresses)
    assert "url(http" not in text
    assert "@import" not in text
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == text.count("<figure")
    assert len(drawings) > 12
    styles = text.split("</style>")[0]
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)  # noqa: S314  written by this test's own code
        assert root.get("aria-label")
        assert "#0b0c" not in drawing
        for variable in set(re.findall(r"var\((--[\w-]+)\)", drawing)):
            assert f"{variable}:" in styles
    letters = [element.text for element in ElementTree.fromstring(drawings[1]).iter() if element.text]  # noqa: S314
    assert [name for name in letters if name.startswith("w")] == ["w00", "w01", "w10", "w11"] * 4


def test_the_text_holds_the_matrix_and_tables(folder) -> None:
    text = (folder / "explain.md").read_text(encoding="utf-8")
    assert text.startswith("# A transposed convolution is a matrix, transposed\n\n`fcn explain`\n")
    assert "\n│   · w00 w01   · w10 w11   ·   ·   · │\n" in text
    assert "| ×8 | 262 144 | 1 048 576 | 16 384 | 14 400 | 64 |" in text
    assert text.count("```") % 2 == 0


def test_the_page_tells_the_command_that_shows_the_same(tmp_path) -> None:
    assert main(["explain", "--kernel=[[1,2],[3,4]]", "--size=[3,5]", "--stride=2", f"--out={tmp_path}"]) == 0
    text = (tmp_path / "explain.md").read_text(encoding="utf-8")
    assert "\n`fcn explain --kernel [[1.0,2.0],[3.0,4.0]] --size [3,5] --stride 2`\n" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_read_on_a_phone_and_in_the_dark(folder, open_window, scheme, width) -> None:
    window = open_window(width=width, scheme=scheme, javascript=True)
    page = window.open(folder / "explain.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert window.requests == [(folder / "explain.html").absolute().as_uri()]
    ink = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (brightness[0] < brightness[1]) == (scheme == "light")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.cells text')].map(text => text.getBoundingClientRect().height)"
    )
    assert min(sizes) > 8


def test_it_runs_where_torch_is_not_installed(tmp_path) -> None:
    forbidden = "FORBIDDEN = tuple(name for name in FORBIDDEN if name != 'matplotlib')\n"
    program = forbidden + "from model.cli import main\nassert main(['explain', '--out', sys.argv[1]]) == 0\n"
    run_without_training_packages(program, str(tmp_path))
    assert (tmp_path / "explain.html").is_file()
    run_without_training_packages("from model.cli import main\nassert main(['explain']) == 0\n")


def test_a_terminal_without_the_letters_gets_question_marks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "model.cli", "explain"],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"w00 w01   ? w10 w11" in done.stdout


def test_numbers_are_short_and_counts_in_groups() -> None:
    assert [number(value) for value in (37.0, 0.75, 5.0625, 0.0, -0.0, 123456.0, 2e7, 1e-5, -1.5)] == [
        "37", "0.75", "5.062", "0", "0", "123456", "2.0e+07", "1.0e-05", "-1.5",
    ]  # fmt: skip
    assert [count(value) for value in (0, 999, 1234567, 12 * 10**12)] == ["0", "999", "1 234 567", "1.2 × 10^13"]
    assert beside(["a\nb\nc", "=", "d"]) == "a\nb  =  d\nc"
