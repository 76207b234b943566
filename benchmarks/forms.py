"""One transposed convolution in its four forms, torch's and OpenVINO's own: multiplications and time.

    python benchmarks/forms.py [--quick] [--side 8] [--page docs/results/forms.md]

All forms take turns in one process on one thread (model/compare/forms.py); the figures to quote are ratios.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from model.compare.forms import FACTORS, ROUNDS, SIDE, measure_forms

TITLES = {
    "dense_matrix": "whole matrix",
    "sparse_matrix": "sparse matrix",
    "zero_insertion": "zeros inserted, direct",
    "phases": "phases",
    "torch": "torch conv_transpose2d",
    "openvino": "OpenVINO",
}


def digits(value: float) -> str:
    """Three digits: 0.00448, 12.3, 3 216."""
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:#.3g}"


def page(found: dict[str, Any], command: str) -> str:
    """The table in Markdown, with what was run on what."""
    side = found["side"]
    lines = [
        "# One map, four costs",
        "",
        f"`{command}`, commit `{found['git_commit']}`, {found['processor']},",
        f"{found['threads']} thread, {found['precision']}.",
        "",
        f"One transposed convolution (kernel 2s, stride s) of one channel of a {side}x{side} map. Medians of",
        f"{found['rounds']} rounds in which all forms took turns; in brackets the 10th and 90th percentile. Ratios",
        "are to the phases of the same step; a whole matrix of more than 256 MB is not made. How each form is written:",
        "`model/compare/forms.py`.",
        "",
        "| step | form | multiplications | ratio | milliseconds | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for factor in sorted({row["scale_factor"] for row in found["rows"]}):
        rows = [row for row in found["rows"] if row["scale_factor"] == factor]
        (base,) = (row for row in rows if row["form"] == "phases")
        for row in rows:
            count = row["multiplications"]
            low, high = row["spread"]
            lines.append(
                f"| ×{factor} | {TITLES[row['form']]} | {f'{count:,}'.replace(',', ' ') if count else '–'} | "
                f"{digits(count / base['multiplications']) if count else '–'} | "
                f"{digits(row['milliseconds'])} ({digits(low)}–{digits(high)}) | "
                f"{digits(row['milliseconds'] / base['milliseconds'])} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 30")
    parser.add_argument(
        "--side", type=int, default=SIDE, help="of the coarse map; the whole matrix has side^4 s^2 entries"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    rounds = 5 if options.quick else 2 * ROUNDS
    found = measure_forms(FACTORS, options.side, rounds, lambda step: print(f"timing {step}", flush=True))
    command = "python benchmarks/forms.py" + (" --quick" if options.quick else "")
    command += f" --side {options.side}" if options.side != SIDE else ""
    text = page(found, command)
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
