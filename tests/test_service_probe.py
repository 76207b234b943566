"""What a worker would fail on at every start is found before there is a worker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data.errors import FcnError
from model.runtime.bundle import write_bundle
from service.probe import probe


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setenv("FCN_PRECISION", "f32")
    monkeypatch.setenv("FCN_MAX_TILE", "512")


def test_a_bundle_that_can_be_served_passes(tiny_bundle):
    probe(tiny_bundle.root)


def test_a_network_that_loads_but_cannot_run_any_size_is_refused(tiny_bundle, tmp_path):
    import onnx

    model = onnx.load(tiny_bundle.model_path)
    for index, size in enumerate((1, 96, 96)):
        model.graph.input[0].type.tensor_type.shape.dim[index].dim_value = size
    bundle = write_bundle(tmp_path / "fixed", model.SerializeToString(), tiny_bundle.manifest)
    with pytest.raises(FcnError, match="cannot run a picture of 64x64"):
        probe(bundle.root)


def test_a_tile_below_the_stride_of_the_network_is_refused(tiny_bundle, tmp_path):
    manifest = replace(tiny_bundle.manifest, stride=1024)
    bundle = write_bundle(tmp_path / "coarse", tiny_bundle.model_path.read_bytes(), manifest)
    with pytest.raises(FcnError, match="max_tile is 512; the network needs at least its stride, 1024"):
        probe(bundle.root)
