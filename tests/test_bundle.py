"""Bundles: what is written is read back, and nothing that is wrong with one gets past ``read_bundle``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from data.errors import BundleError
from model.runtime.bundle import Manifest, read_bundle, write_bundle

if TYPE_CHECKING:
    from model.runtime.bundle import Bundle


def edit(bundle: Bundle, **fields: Any) -> None:
    """Set fields of a manifest on disk; None removes one."""
    path = bundle.root / "manifest.json"
    content = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def test_a_bundle_is_read_as_it_was_written(own_bundle: Bundle) -> None:
    assert read_bundle(own_bundle.root) == own_bundle
    assert own_bundle.manifest.version == own_bundle.manifest.model_sha256[:12]
    assert sorted(path.name for path in own_bundle.root.iterdir()) == ["manifest.json", "model.onnx"]


def test_scores_that_do_not_exist_are_null_in_the_manifest(own_bundle: Bundle) -> None:
    scores = {"miou": float("nan"), "class_iou": {"red": np.float32("inf"), "blue": np.float64(0.5)}, "n": np.int64(3)}
    provenance = {"dataset": Path("pictures"), "sizes": (1, 2), "table": np.eye(2)}
    manifest = replace(own_bundle.manifest, scores=scores, provenance=provenance)
    fields = json.loads(manifest.to_json(), parse_constant=pytest.fail)
    assert fields["scores"] == {"miou": None, "class_iou": {"red": None, "blue": 0.5}, "n": 3}
    assert fields["provenance"] == {"dataset": "pictures", "sizes": [1, 2], "table": [[1.0, 0.0], [0.0, 1.0]]}
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_value_that_json_cannot_hold_is_named(own_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"provenance\.seen holds a set"):
        replace(own_bundle.manifest, provenance={"seen": {1}})


def test_fields_of_a_later_release_are_passed_over(own_bundle: Bundle) -> None:
    edit(own_bundle, calibration={"temperature": 1.2})
    assert read_bundle(own_bundle.root) == own_bundle


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema_version": 2}, "schema version 2; this release reads version 1"),
        ({"schema_version": "1"}, "schema_version is '1'; an integer is expected"),
        ({"stride": None}, "no field 'stride'"),
        ({"stride": True}, "stride is True; an integer"),
        ({"stride": 0}, "stride is 0"),
        ({"name": 3}, "name is 3; a text"),
        ({"name": " "}, "name is empty"),
        ({"scores": [1]}, "scores is \\[1\\]; an object"),
        ({"labels": {}}, "labels is {}; a list"),
        ({"labels": []}, "has 0 classes"),
        ({"labels": ["sky"]}, "label 0 of the manifest is 'sky'"),
        ({"labels": [{"name": "sky"}]}, "'sky' of the manifest has colour None"),
        ({"labels": [{"name": "sky", "colour": [1, 2, 256]}]}, "three integers from 0 to 255"),
        ({"labels": [{"name": "sky", "colour": [1, 2, 3]}] * 2}, "'sky' stands twice"),
        ({"ignore_colour": None}, "ignore_colour of the manifest has colour None"),
        ({"model_sha256": "abc"}, "64 hex digits"),
        ({"model_sha256": "0" * 64}, "altered or only partly copied"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_in_one_sentence(
    own_bundle: Bundle, fields: dict[str, Any], message: str
) -> None:
    edit(own_bundle, **fields)
    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(own_bundle.root)
    assert str(own_bundle.root) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\ufeff{}", "[" * 100_000, '{"schema_version": 1'])
def test_a_manifest_that_is_no_json_object_is_refused(own_bundle: Bundle, text: str) -> None:
    (own_bundle.root / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        read_bundle(own_bundle.root)


def test_a_manifest_that_is_no_text_is_refused(own_bundle: Bundle) -> None:
    (own_bundle.root / "manifest.json").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(own_bundle.root)


def test_a_model_with_one_other_byte_is_refused(own_bundle: Bundle) -> None:
    content = bytearray(own_bundle.model_path.read_bytes())
    content[len(content) // 2] ^= 1
    own_bundle.model_path.write_bytes(content)
    with pytest.raises(BundleError, match="sha256"):
        read_bundle(own_bundle.root)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_a_missing_file_is_named(own_bundle: Bundle, name: str) -> None:
    (own_bundle.root / name).unlink()
    with pytest.raises(BundleError, match=f"holds no {name}"):
        read_bundle(own_bundle.root)


def test_a_place_that_is_no_folder_is_refused(own_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a file: give the folder"):
        read_bundle(own_bundle.model_path)
    with pytest.raises(BundleError, match="does not exist"):
        read_bundle(tmp_path / "nowhere")


def test_a_bundle_takes_the_place_of_a_bundle(own_bundle: Bundle) -> None:
    fresh = write_bundle(own_bundle.root, b"another model", replace(own_bundle.manifest, name="fresh"))
    assert fresh.manifest.name == "fresh"
    assert read_bundle(own_bundle.root) == fresh
    assert [path.name for path in own_bundle.root.parent.iterdir()] == [own_bundle.root.name]


def test_a_bundle_fills_an_empty_folder_and_makes_the_folders_above(own_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_bundle(tmp_path / "empty", b"model", own_bundle.manifest)
    write_bundle(tmp_path / "new" / "deep", b"model", own_bundle.manifest)
    assert read_bundle(tmp_path / "new" / "deep").manifest == read_bundle(tmp_path / "empty").manifest


def test_a_link_to_a_bundle_stays_a_link(own_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(own_bundle.root)
    write_bundle(tmp_path / "current", b"another model", own_bundle.manifest)
    assert (tmp_path / "current").is_symlink()
    assert read_bundle(own_bundle.root).model_path.read_bytes() == b"another model"


def test_a_folder_with_anything_else_in_it_is_never_replaced(own_bundle: Bundle) -> None:
    (own_bundle.root / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"other things than a bundle \(notes\.txt\)"):
        write_bundle(own_bundle.root, b"model", own_bundle.manifest)
    with pytest.raises(BundleError, match="is a file"):
        write_bundle(own_bundle.root / "notes.txt", b"model", own_bundle.manifest)
    assert (own_bundle.root / "notes.txt").read_text() == "mine"


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(own_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="empty"):
        write_bundle(own_bundle.root, b"", own_bundle.manifest)
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(own_bundle.model_path / "below-a-file", b"model", own_bundle.manifest)
    assert read_bundle(own_bundle.root) == own_bundle
    assert [path.name for path in own_bundle.root.parent.iterdir()] == [own_bundle.root.name]
