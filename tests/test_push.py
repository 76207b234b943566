"""A pushed network: a folder that torch, OpenVINO and a hub read; a hub's answers, by a small server of its kind."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from data.errors import BundleError, ConfigError, HubError
from data.labels import LabelMap
from model.cli import main
from model.fcn import FCN
from model.push import push
from model.run import Run
from model.runtime.bundle import read_bundle

FILES = ["README.md", "config.json", "labelmap.txt", "manifest.json", "model.onnx", "model.safetensors"]


@pytest.fixture(scope="module")
def run(exported_run):
    return exported_run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pushed_folder_gives_the_same_logits_bit_by_bit(run, tmp_path, capsys):
    target = tmp_path / "deep" / "pushed"
    assert main(["push", str(run.root), str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    assert names(target) == FILES
    image = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8)
    again = FCN.from_pretrained(target).eval()
    with torch.inference_mode():
        assert torch.equal(again(image), run.network("best")(image))
    assert read_bundle(target) == replace(read_bundle(run.root / "bundle"), root=target)
    assert LabelMap.read(target / "labelmap.txt").names == run.labels().names
    assert [path.name for path in target.parent.iterdir()] == ["pushed"]


def test_a_push_takes_the_place_of_an_earlier_one_and_of_nothing_else(run, tmp_path):
    target = tmp_path / "pushed"
    push(run.root, str(target))
    push(run.root, str(target))
    assert names(target) == FILES
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"other things than a pushed network \(notes\.txt\)"):
        push(run.root, str(target))
    assert (target / "notes.txt").read_text() == "mine"
    only = tmp_path / "only"
    only.mkdir()
    (only / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"\(config\.json\)"):
        push(run.root, str(only))
    with pytest.raises(ConfigError, match="is a file"):
        push(run.root, str(only / "config.json"))


def test_a_push_that_breaks_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(FCN, "save_pretrained", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(ConfigError, match="the disk is full"):
        push(run.root, str(tmp_path / "pushed"))
    assert names(tmp_path) == []


def test_a_bundle_in_its_run_is_pushed_as_the_run_and_elsewhere_without_weights(run, tmp_path):
    push(run.root / "bundle", str(tmp_path / "one"))
    assert names(tmp_path / "one") == FILES
    push(tmp_path / "one", str(tmp_path / "two"))  # a pushed folder is a bundle
    assert names(tmp_path / "two") == [name for name in FILES if name not in ("config.json", "model.safetensors")]


def test_what_was_not_exported_or_trained_further_since_is_refused(run, tmp_path, own_bundle):
    copy = Run.create(tmp_path / "run", run.config(), run.labels())
    (copy.checkpoints / "best.ckpt").write_bytes(run.checkpoint("best").read_bytes())
    with pytest.raises(BundleError, match=r"has no bundle yet.*'fcn export' it first"):
        push(copy.root, str(tmp_path / "out"))
    push(run.root, str(copy.root / "bundle"))
    torch.save({"state_dict": {}}, copy.checkpoints / "best.ckpt")
    with pytest.raises(ConfigError, match=r"is not the one that .* was exported from"):
        push(copy.root, str(tmp_path / "out"))
    with pytest.raises(BundleError, match="has no model card"):
        push(own_bundle.root, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


class Hub:
    """As much of the hub's HTTP interface as an upload needs; every file travels within the commit."""

    def __init__(self):
        self.repositories, self.files, self.tokens, self.status = {}, {}, set(), 200


@contextmanager
def serving(hub):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hub.tokens.add(self.headers.get("Authorization"))
            answer = self.answer(body)
            content = json.dumps(answer if hub.status == 200 else {"error": "no"}).encode()
            self.send_response(hub.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def answer(self, body):
            here = f"http://127.0.0.1:{self.server.server_port}"
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                hub.repositories[f"{asked['organization']}/{asked['name']}"] = asked
                return {"url": f"{here}/{asked['organization']}/{asked['name']}"}
            if self.path == "/api/validate-yaml":
                return {"warnings": [], "errors": []}
            if "/preupload/" in self.path:
                asked = json.loads(body)["files"]
                return {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return {"commitUrl": f"{here}/ada/streets/commit/{'0' * 40}", "commitOid": "0" * 40}

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    hub = Hub()
    with serving(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield hub


def test_a_network_is_uploaded_to_a_hub(run, hub, capsys, tmp_path):
    assert main(["push", str(run.root), "hf://ada/streets", "--private"]) == 0
    assert "/ada/streets/commit/" in capsys.readouterr().out
    asked = hub.repositories["ada/streets"]
    assert asked.get("visibility") == "private" or asked["private"] is True  # newer and older clients
    assert sorted(hub.files) == FILES
    assert hub.files["README.md"] == (run.root / "bundle" / "README.md").read_bytes()
    assert hub.files["model.onnx"] == (run.root / "bundle" / "model.onnx").read_bytes()
    assert hub.tokens == {"Bearer hf_of_a_test"}


@pytest.mark.parametrize(("status", "message"), [(401, "it does not know the token"), (403, "may write there")])
def test_a_hub_that_refuses_is_told_in_one_line(run, hub, capsys, status, message):
    hub.status = status
    assert main(["push", str(run.root), "hf://ada/streets"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"status {status}" in line
    assert message in line


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(run, hub, capsys, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(run.root), "hf://ada/streets"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the hub at http://127.0.0.1:9 cannot be reached" in line


def test_a_hub_needs_a_token_and_a_name(run, monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(HubError, match=r"there is no token for the hub.*HF_TOKEN"):
        push(run.root, "hf://ada/streets")
    with pytest.raises(HubError, match="hf://OWNER/NAME is expected"):
        push(run.root, "hf://streets")
