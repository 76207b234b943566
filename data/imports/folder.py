"""Folder: an export written as a data set of pictures and masks, whole or not at all."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from data.bands import bands, count_pixels
from data.drawing import encode_label_png
from data.errors import ConfigError, DataError, FcnError
from data.imports.archive import opened
from data.imports.classes import Classes, choose_classes
from data.imports.painting import UNLABELLED, Painting, paint
from data.imports.places import distinct, place_below, write_splits
from data.imports.recognise import read_export
from data.imports.report import REPORT_FILE, ImportReport
from data.imports.shelf import Shelf
from data.labels import IGNORE_INDEX
from data.limits import MOST_PIXELS
from data.masks import read_index_mask
from data.pixels import stored_size, upright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from data.imports.config import ImportConfig
    from data.imports.export import Export, LabelledPicture, Order

_SHOWN: Final = 20
"""Most faults that a message tells one by one."""

_ORDERS: Final = {"order": "the later one in the export wins", "area": "the smaller one wins"}


@dataclass(frozen=True)
class _Done:
    """One picture that is written."""

    painting: Painting
    counts: NDArray[np.int64]
    turned: bool


def import_export(export: Path, out: Path, config: ImportConfig, *, progress: bool = False) -> ImportReport:
    """Read an export of a labelling tool and write ``images/``, ``masks/``, ``labels.txt`` and lists of splits.

    Everything is written beside its place first and gets its name at the end: what is broken off leaves nothing that
    could be taken for a data set.

    Args:
        export: File, folder or zip file.
        out: Folder to make.
        config: Settings.
        progress: Show a bar on stderr.

    Returns:
        What was found; it lies in the folder as ``import.json`` too.

    Raises:
        DataError: the export is faulty; the message tells every fault, or the first of many.
        ConfigError: a setting does not fit the export.
    """
    out = out.absolute()
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise DataError(f"{out} exists already: give a folder that is still to be made, or remove it")
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        with opened(export, out.parent) as place:
            if config.link and place != export and config.images is None:
                raise ConfigError(
                    "link: the pictures lie in a zip file, to which nothing can be linked: unpack it first"
                )
            found = read_export(place, config)
            every = found.faults + [fault for picture in found.pictures for fault in picture.faults]
            if every and not found.labels:
                raise DataError(_tell(every))
            partial.mkdir(parents=True)
            report = _Import(found, partial, config, ImportReport(found.kind, str(out))).run(progress=progress)
        (partial / REPORT_FILE).write_text(report.to_json() + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise DataError(f"{error.filename or out} cannot be written or read: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


class _Import:
    """One import on its way."""

    def __init__(self, export: Export, out: Path, config: ImportConfig, report: ImportReport) -> None:
        self._export = export
        self._out = out
        self._config = config
        self._report = report
        self._classes: Classes = choose_classes(export, config)
        self._order: Order = export.order if config.overlap == "auto" else config.overlap
        roots = [config.images.expanduser()] if config.images is not None else export.roots
        self._shelf = Shelf(roots)

    def run(self, *, progress: bool) -> ImportReport:
        """Write everything into the folder."""
        chosen = self._chosen()
        faults = list(self._export.faults)
        paths = self._find(chosen, faults)
        subsets = {picture.subset for picture in self._export.pictures}
        names = distinct(
            {
                place: place_below(self._shelf.name_of(paths[place]), picture.subset, subsets)
                for place, picture in chosen
                if place in paths
            }
        )
        in_front = self._classes.unlabelled is None
        done: dict[int, _Done] = {}
        work = [(place, picture) for place, picture in chosen if place in paths]
        console = Console(stderr=True)
        hidden = not (progress and console.is_terminal)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

            def write(item: tuple[int, LabelledPicture]) -> _Done | str:
                place, picture = item
                try:
                    return self._write(picture, paths[place], names[place], in_front=in_front)
                except FcnError as error:
                    return f"{picture.where}: {error}" if picture.where not in str(error) else str(error)

            bar = track(pool.map(write, work), "importing", len(work), console=console, transient=True, disable=hidden)
            for (place, _), result in zip(work, bar, strict=True):
                if isinstance(result, str):
                    faults.append(result)
                else:
                    done[place] = result
        if faults and not self._config.skip_faulty:
            raise DataError(_tell(faults))
        self._report.faulty = faults
        if not done:
            raise DataError(
                f"no picture of the {len(self._export.pictures)} in the {self._export.kind} export can be imported"
                + (f": {faults[0]}" if faults else "; none has an annotation (--unannotated unlabelled takes them)")
            )
        return self._finish(chosen, names, done, in_front=in_front)

    def _chosen(self) -> list[tuple[int, LabelledPicture]]:
        bare = [picture for picture in self._export.pictures if not picture.annotated and not picture.faults]
        self._report.unannotated = len(bare)
        skipped = self._config.unannotated == "skip"
        self._report.unannotated_are = "left out" if skipped else "unlabelled all over"
        pictures = list(enumerate(self._export.pictures))
        return [item for item in pictures if item[1].annotated or item[1].faults or not skipped]

    def _find(self, chosen: Sequence[tuple[int, LabelledPicture]], faults: list[str]) -> dict[int, Path]:
        """The file of every picture; what has none, or one that is taken, is a fault."""
        paths: dict[int, Path] = {}
        owners: dict[Path, LabelledPicture] = {}
        for place, picture in chosen:
            faults += picture.faults
            try:
                path = self._shelf.find(picture.name, picture.subset)
            except DataError as error:
                faults.append(f"{picture.where}: {error}")
                continue
            if path in owners:
                faults.append(f"{picture.where}: {picture.name!r} is the same file as {owners[path].where}, {path}")
            elif not picture.faults:
                owners[path] = picture
                paths[place] = path
        return paths

    def _write(self, picture: LabelledPicture, path: Path, name: str, *, in_front: bool) -> _Done:
        width, height, orientation = stored_size(path, MOST_PIXELS)
        turned = False
        if orientation > 4:
            # Tools that know nothing of EXIF labelled the picture as it is stored: their labels are turned with it.
            turned = picture.size == (width, height) != (height, width)
            width, height = (width, height) if turned else (height, width)
        if picture.size not in (None, (width, height)):
            raise DataError(
                f"{path} is {width}x{height}; the export says {picture.size[0]}x{picture.size[1]}: "
                "give the pictures that were labelled"
            )
        painting = self._painted(picture, (height, width))
        label_map = upright(painting.label_map, orientation) if turned else painting.label_map
        counts = count_pixels(label_map)
        table = self._classes.table(in_front=in_front)
        for top, bottom in bands(label_map.shape):
            label_map[top:bottom] = table[label_map[top:bottom]]
        image = self._out / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        if self._config.link:
            image.symlink_to(path.resolve())
        else:
            shutil.copyfile(path, image)
        labels = self._classes.label_map(in_front=in_front)
        mask = self._mask(name)
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(encode_label_png(label_map, labels))
        painting.label_map = np.zeros((0, 0), dtype=np.uint8)
        return _Done(painting, counts, turned)

    def _painted(self, picture: LabelledPicture, size: tuple[int, int]) -> Painting:
        if picture.label_map is None:
            return paint(picture, size, self._classes.index, self._order)
        found = picture.label_map()
        if found.shape != size:
            raise DataError(f"the mask is {found.shape[1]}x{found.shape[0]}; the picture is {size[1]}x{size[0]}")
        table = np.full(256, UNLABELLED, dtype=np.uint8)
        table[IGNORE_INDEX] = IGNORE_INDEX
        for place, label in enumerate(self._export.labels):
            table[place] = self._classes.index.get(label, UNLABELLED)
        return Painting(table[found])

    def _mask(self, name: str) -> Path:
        return self._out / "masks" / PurePosixPath(name).with_suffix(".png")

    def _finish(
        self,
        chosen: Sequence[tuple[int, LabelledPicture]],
        names: dict[int, str],
        done: dict[int, _Done],
        *,
        in_front: bool,
    ) -> ImportReport:
        counts = np.sum([one.counts for one in done.values()], axis=0)
        if in_front and not counts[UNLABELLED]:
            self._take_front_away([names[place] for place in done])
            in_front = False
        labels = self._classes.label_map(in_front=in_front)
        labels.write_labels(self._out / "labels.txt")
        report = self._report
        final = np.zeros(256, dtype=np.int64)
        np.add.at(final, self._classes.table(in_front=in_front), counts)
        report.pixels = {name: int(final[place]) for place, name in enumerate(labels.names)}
        if final[IGNORE_INDEX]:
            report.pixels["(ignored)"] = int(final[IGNORE_INDEX])
        shapes = np.sum([one.painting.shapes for one in done.values()], axis=0)
        report.shapes = {name: int(shapes[place]) for place, name in enumerate(self._classes.names)}
        if shapes[IGNORE_INDEX]:
            report.shapes["(ignored)"] = int(shapes[IGNORE_INDEX])
        report.pictures = len(done)
        report.order = _ORDERS[self._order]
        report.overlapping_pictures = sum(one.painting.overlapped > 0 for one in done.values())
        report.overlapped_pixels = sum(one.painting.overlapped for one in done.values())
        report.cut = sum(one.painting.cut for one in done.values())
        report.empty = sum(one.painting.empty for one in done.values())
        report.left_out = sum(one.painting.left_out for one in done.values())
        report.disputed_pixels = sum(one.painting.disputed for one in done.values())
        report.turned = sum(one.turned for one in done.values())
        unlabelled = int(self._classes.table(in_front=in_front)[UNLABELLED])
        report.unlabelled_are = "ignored" if unlabelled == IGNORE_INDEX else labels.names[unlabelled]
        if not counts[UNLABELLED]:
            report.unlabelled_are = "there are none"
        written = [(picture, names[place]) for place, picture in chosen if place in done]
        report.splits = write_splits(self._out, written, self._export.notes)
        report.notes = {note: count for note, count in self._export.notes.items() if count}
        return report

    def _take_front_away(self, names: Sequence[str]) -> None:
        """Every pixel is covered: no class is needed in front of the export's own."""
        labels = self._classes.label_map(in_front=False)
        table = np.arange(256, dtype=np.uint8)
        table[1:IGNORE_INDEX] -= 1
        for name in names:
            path = self._mask(name)
            path.write_bytes(encode_label_png(table[read_index_mask(path)], labels))


def _tell(faults: list[str]) -> str:
    shown = "\n  ".join(faults[:_SHOWN])
    more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    what = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return (
        f"nothing was imported, for {what}; mend the export, or leave faulty pictures out with --skip-faulty:\n  "
        f"{shown}{more}"
    )
