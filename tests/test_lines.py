"""Where the last lines of a journal stand, held in a few bytes a line."""

from __future__ import annotations

import tracemalloc

from model.runtime.lines import LineIndex


def test_the_last_line_of_a_key_counts_and_an_unknown_key_has_none() -> None:
    index = LineIndex([("a.png", 0), ("b.png", 40), ("a.png", 80), ("\udcff.png", 120)])
    assert [index.find(key) for key in ("a.png", "b.png", "\udcff.png", "c.png")] == [80, 40, 120, None]
    assert list(index.offsets()) == [40, 80, 120]
    assert LineIndex().find("a.png") is None


def test_a_line_is_held_in_sixteen_bytes() -> None:
    count = 100_000
    tracemalloc.start()
    index = LineIndex((f"a/long/path/to/picture_{number:09d}.jpg", 300 * number) for number in range(count))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 17 * count
    assert index.find("a/long/path/to/picture_000077777.jpg") == 300 * 77_777
