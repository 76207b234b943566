"""docs/convolution.md shows what `fcn explain` computes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.explain.example import Example, read_kernel
from model.explain.learning import descend
from model.explain.lesson import chapters
from model.explain.page import markdown
from model.transposed import count_multiplications

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "convolution.md").read_text(encoding="utf-8")
TOLD = markdown(chapters(Example(read_kernel(2), (3, 3))), "fcn explain")
BLOCKS = re.findall(r"```\n(.*?)```", re.sub(r"```python.*?```", "", TEXT, flags=re.DOTALL), flags=re.DOTALL)


def words(block: str) -> list[list[str]]:
    return [line.split() for line in block.splitlines()]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_every_matrix_of_the_page_is_one_that_is_computed(block: str) -> None:
    computed = [words(found) for found in re.findall(r"```\n(.*?)\n```", TOLD, flags=re.DOTALL)]
    assert words(block) in computed


def test_there_are_matrices_on_the_page() -> None:
    assert len(BLOCKS) == 5


def test_the_code_of_the_page_runs_and_gives_what_it_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)  # noqa: S102  the page's own
    assert names["y"].tolist() == [37, 47, 67, 77]
    assert names["back"].tolist() == [[37, 121, 94], [178, 500, 342], [201, 499, 308]]


def test_figures_in_the_sentences_of_the_page_are_right() -> None:
    assert np.linalg.matrix_rank(_c()) == 4
    line = torch.tensor([[[2.0, 6.0, 4.0]]])
    kernel = torch.tensor([[[0.25, 0.75, 0.75, 0.25]]])
    bare = functional.conv_transpose1d(line, kernel, stride=2, padding=1)[0, 0]
    assert (float(bare[0]), float(bare[-1])) == (1.5, 3.0)
    assert np.array_equal(np.round(descend(10)[-1], 2), np.round(np.outer(*2 * [[0.25, 0.75, 0.75, 0.25]]), 2))
    for factor in (8, 32):
        counts = count_multiplications((10, 10), 2 * factor, factor, factor // 2)
        assert counts.zero_insertion == factor**2 * counts.phases
        assert counts.dense_matrix == factor**2 * 10**4
        assert 0.9 < counts.sparse_matrix / counts.phases < 1


def _c() -> np.ndarray:
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)[0], names)  # noqa: S102  the page's own
    found: np.ndarray = names["C"].toarray()
    return found
