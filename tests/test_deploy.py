"""What is in deploy/: the manifest, the dashboard, and the folder an image is built from."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import kubernetes_validate
import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import Counter, Histogram

from service import metrics
from service.settings import Settings
from tests.serving import ROOT, STOP_SECONDS, bentoml_command, clean_environment, serving

MANIFEST = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text()))
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
GIBIBYTE = 2**30


def of_kind(kind):
    (found,) = [document for document in MANIFEST if document["kind"] == kind]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.37"])
@pytest.mark.parametrize("document", MANIFEST, ids=lambda document: document["kind"])
def test_the_manifest_fits_the_schemas_of_kubernetes(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_of_kubernetes_find_a_misspelt_field():
    wrong = json.loads(json.dumps(of_kind("Deployment")).replace("readinessProbe", "readynessProbe"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


POD = of_kind("Deployment")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
SETTINGS = Settings.from_environment({name: value for name, value in ENVIRONMENT.items() if name.startswith("FCN_")})


def test_every_setting_of_the_manifest_exists_and_has_a_value_that_works():
    names = {f"FCN_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert {name for name in ENVIRONMENT if name.startswith("FCN_")} <= names


def test_a_pod_has_time_to_finish_what_it_accepted():
    (_, sleep) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    unread = int(CONTAINER["args"][CONTAINER["args"].index("--timeout-graceful-shutdown") + 1])
    needed = int(sleep) + SETTINGS.timeout_seconds + SETTINGS.drain_seconds + unread
    assert POD["terminationGracePeriodSeconds"] >= needed + 5


def test_a_pod_has_the_memory_that_its_settings_come_to():
    """As "Settings" in docs/service.md counts it."""
    bodies = (SETTINGS.slots + SETTINGS.queue) * SETTINGS.max_body_bytes
    needed = GIBIBYTE / 2 + bodies + SETTINGS.slots * 21 * SETTINGS.max_pixels
    limit = CONTAINER["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    assert int(limit.removesuffix("Gi")) * GIBIBYTE >= needed


def test_a_pod_may_do_no_more_than_it_must():
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
    written = {volume["name"] for volume in POD["volumes"] if "emptyDir" in volume}
    assert {mounts[name]["mountPath"] for name in written} == {ENVIRONMENT["BENTOML_HOME"], "/tmp"}  # noqa: S108
    assert str(SETTINGS.api_keys_file.parent) == mounts["keys"]["mountPath"]


def test_the_parts_of_the_manifest_find_each_other():
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert of_kind("Service")["spec"]["selector"] == labels
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert (
        of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
        == of_kind("Deployment")["metadata"]["name"]
    )
    (scaled,) = of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert scaled["pods"]["metric"]["name"] in samples()
    assert int(scaled["pods"]["target"]["averageValue"]) < SETTINGS.queue


def samples():
    """Every sample that the service exposes, with its labels."""
    names = {}
    for metric in vars(metrics).values():
        if isinstance(metric, Histogram):
            for suffix, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
                names[f"{metric._name}{suffix}"] = {*metric._labelnames, *more}
        elif isinstance(metric, Counter):
            names[f"{metric._name}_total"] = set(metric._labelnames)
        elif hasattr(metric, "_labelnames"):
            names[metric._name] = set(metric._labelnames)
    return names


def lost(given, kept, path=""):
    """Where a JSON document is not part of another."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name not in kept:
                yield f"{path}/{name}"
            else:
                yield from lost(value, kept[name], f"{path}/{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{path}/{index}")
    elif given != kept:
        yield path


def as_grafana_reads_it(dashboard):
    """Read into Grafana's own model of a dashboard, generated from its schemas, and written again."""
    register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))


def test_grafana_knows_every_field_of_the_dashboard():
    assert list(lost(DASHBOARD, as_grafana_reads_it(DASHBOARD))) == []


def test_grafanas_model_finds_a_misspelt_field():
    wrong = json.loads(json.dumps(DASHBOARD).replace('"gridPos"', '"gridPosition"', 1))
    assert list(lost(wrong, as_grafana_reads_it(wrong))) == ["/panels/0/gridPosition"]


def test_panels_lie_side_by_side_and_have_their_own_numbers():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers) > 10


QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def read_by(query):
    """What a query selects, and the labels by which it groups."""
    selected = []
    grouped = set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            selected.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            selected.append(node.vector_selector)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            grouped.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "5m")), visit)
    return selected, grouped


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_reads_metrics_and_labels_that_the_service_has(query):
    selected, grouped = read_by(query)
    assert selected
    known = samples()
    for selector in selected:
        assert selector.name in known
        assert {matcher.name for matcher in selector.matchers.matchers} <= {*known[selector.name], "instance"}
        assert grouped <= known[selector.name]


def test_every_metric_of_the_service_stands_on_the_dashboard():
    shown = {re.sub("_(bucket|sum|count)$", "", one.name) for param in QUERIES for one in read_by(param.values[0])[0]}
    assert shown == {re.sub("_(bucket|sum|count)$", "", name) for name in samples()}


BUILD_CONTEXT = """
import shutil, sys
import bentoml
from bentoml._internal.container import construct_containerfile

with construct_containerfile(bentoml.get("fcn-segmenter:latest")) as (context, dockerfile):
    shutil.copytree(context, sys.argv[1])
"""


@pytest.fixture(scope="module")
def context(tiny_bundle, tmp_path_factory):
    """The folder that `bentoml containerize` gives to Docker, made by BentoML itself."""
    place = tmp_path_factory.mktemp("image")
    environment = clean_environment(place / "home")
    code = "from pathlib import Path; from model.runtime.store import register; register(Path(input()))"
    for command, text in (
        ([sys.executable, "-c", code], str(tiny_bundle.root)),
        (bentoml_command("build"), None),
        ([sys.executable, "-c", BUILD_CONTEXT, str(place / "context")], None),
    ):
        subprocess.run(command, input=text, cwd=ROOT, env=environment, text=True, timeout=120, check=True)
    shutil.rmtree(place / "home")
    return place / "context"


def test_the_image_is_built_of_plain_python_and_the_pinned_packages_without_torch(context):
    dockerfile = (context / "env" / "docker" / "Dockerfile").read_text()
    assert "FROM python:3.11-slim" in dockerfile
    assert re.search(r"uv .*pip install -r .*requirements\.txt", dockerfile)
    assert f"BENTO_USER_UID={POD['securityContext']['runAsUser']}" in dockerfile
    packages = (context / "env" / "python" / "requirements.txt").read_text().split()
    assert set(packages) == set(yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"])
    assert not any(name in package for package in packages for name in ("torch", "lightning", "albumentations"))


def test_what_would_be_the_image_serves_its_model_and_writes_where_the_manifest_lets_it(context, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in context.rglob("*")}
    assert any(path.name == "model.onnx" for path in before)
    (tmp_path / "tmp").mkdir()
    environment = {
        **clean_environment(tmp_path / "home"),
        "BENTOML_CONTAINERIZED": "true",
        "TMPDIR": str(tmp_path / "tmp"),
        "HOME": str(tmp_path / "nobody"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FCN_PRECISION": "f32",
    }
    options = [argument for argument in CONTAINER["args"] if argument != "serve"]
    with serving(str(context), environment, tmp_path, tmp_path / "log", *options) as running:
        assert httpx.get(f"{running.url}/v1/model", timeout=30).json()["name"] == "tiny-colours"
        running.process.terminate()
        assert running.process.wait(STOP_SECONDS) == 0
    after = {path: path.stat().st_mtime_ns for path in context.rglob("*")}
    assert after == before
    assert {path.name for path in Path(tmp_path).iterdir()} <= {"home", "tmp", "log"}
