"""Settings come from the environment, and every wrong one is named."""

from pathlib import Path

import pytest

from data.errors import ConfigError
from service.keys import ApiKey
from service.settings import Settings


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.max_body_bytes == 64 * 1024 * 1024
    assert settings.model == "fcn-segmenter:latest"


def test_every_setting_can_be_given():
    settings = Settings.from_environment(
        {
            "FCN_BUNDLE": "runs/x/bundle",
            "FCN_MODEL": "streets:v2",
            "FCN_ENGINE": "onnxruntime",
            "FCN_PRECISION": "f32",
            "FCN_THREADS": "3",
            "FCN_SLOTS": "4",
            "FCN_STREAMS": "1",
            "FCN_QUEUE": "0",
            "FCN_MAX_BODY_BYTES": "1_000_000",
            "FCN_MAX_PIXELS": "5000",
            "FCN_MAX_TILE": "512",
            "FCN_TIMEOUT_SECONDS": "2.5",
            "FCN_RECEIVING": "9",
            "FCN_MIN_UPLOAD_RATE": "500",
            "FCN_DRAIN_SECONDS": "0.5",
            "FCN_API_KEYS": f"web:{'0' * 64}",
            "FCN_API_KEYS_FILE": "keys",
            "FCN_OPEN_DOORS": "health, metrics",
            "FCN_CORS_ORIGINS": "https://a.test http://[::1]:8080",
            "FCN_LOG_FORMAT": "json",
            "FCN_TRACE_ENDPOINT": "https://collector.test/v1/traces",
            "FCN_TRACE_RATE": "0.25",
        }
    )
    assert settings == Settings(
        bundle=Path("runs/x/bundle"),
        model="streets:v2",
        engine="onnxruntime",
        precision="f32",
        threads=3,
        slots=4,
        streams=1,
        queue=0,
        max_body_bytes=1_000_000,
        max_pixels=5000,
        max_tile=512,
        timeout_seconds=2.5,
        receiving=9,
        min_upload_rate=500,
        drain_seconds=0.5,
        api_keys=(ApiKey("web", "0" * 64),),
        api_keys_file=Path("keys"),
        open_doors=("health", "metrics"),
        cors_origins=("https://a.test", "http://[::1]:8080"),
        log_format="json",
        trace_endpoint="https://collector.test/v1/traces",
        trace_rate=0.25,
    )


def test_an_empty_variable_leaves_the_default():
    assert Settings.from_environment({"FCN_SLOTS": "", "FCN_BUNDLE": " "}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("FCN_SLOTS", "two", "FCN_SLOTS is 'two'; a whole number"),
        ("FCN_SLOTS", "0", "FCN_SLOTS is 0; 1 to 64"),
        ("FCN_QUEUE", "-1", "FCN_QUEUE is -1"),
        ("FCN_MAX_BODY_BYTES", "32MB", "whole number"),
        ("FCN_MAX_PIXELS", "400000000", "1 to 178956970"),
        ("FCN_TIMEOUT_SECONDS", "nan", "FCN_TIMEOUT_SECONDS is nan"),
        ("FCN_TIMEOUT_SECONDS", "soon", "a number is needed"),
        ("FCN_ENGINE", "tensorrt", "choose one of openvino, onnxruntime"),
        ("FCN_PRECISION", "int8", "choose one of auto, f32, bf16"),
        ("FCN_LOG_FORMAT", "xml", "choose one of text, json"),
        ("FCN_SLOTS", "2.5", "FCN_SLOTS is '2.5'; a whole number is needed, such as 2$"),
        ("FCN_TRACE_RATE", "half", "FCN_TRACE_RATE is 'half'; a number is needed, such as 1$"),
        ("FCN_OPEN_DOORS", "health,all", "FCN_OPEN_DOORS holds 'all'; choose from health, metrics, docs, or none"),
        ("FCN_OPEN_DOORS", "none,health", "FCN_OPEN_DOORS holds 'none'; choose from .* none alone"),
        ("FCN_TRACE_ENDPOINT", "http://", "an address is needed"),
        ("FCN_TRACE_ENDPOINT", "http:///v1/traces", "an address is needed"),
        ("FCN_TRACE_ENDPOINT", "http://:4318", "an address is needed"),
        ("FCN_TRACE_ENDPOINT", "http://collector:port", "an address is needed"),
        ("FCN_TRACE_ENDPOINT", "http://[::1", "an address is needed"),
        ("FCN_TRACE_ENDPOINT", "collector:4318", "an address is needed"),
    ],
)
def test_a_value_that_cannot_work_is_named_with_what_can(variable, value, told):
    with pytest.raises(ConfigError, match=told):
        Settings.from_environment({variable: value})


@pytest.mark.parametrize("endpoint", ["http://collector:4318/v1/traces", "https://me:x@[::1]/v1", "http://c"])
def test_a_collector_is_taken_as_it_is_given(endpoint):
    assert Settings.from_environment({"FCN_TRACE_ENDPOINT": endpoint}).trace_endpoint == endpoint


def test_no_door_is_open_when_none_is_named():
    assert Settings.from_environment({"FCN_OPEN_DOORS": "none"}).open_doors == ()


def test_a_pair_that_cannot_work_together_is_refused():
    with pytest.raises(ConfigError, match="bf16"):
        Settings.from_environment({"FCN_ENGINE": "onnxruntime", "FCN_PRECISION": "bf16"})


@pytest.mark.parametrize("variable", ["FCN_MAX_PIXEL", "FCN_SLOT", "FCN_MAX_BODYBYTES"])
def test_a_typing_error_in_a_name_is_not_passed_over(variable):
    with pytest.raises(ConfigError, match="did you mean FCN_"):
        Settings.from_environment({variable: "1"})


@pytest.mark.parametrize("service", ["FCN", "FCN_SEGMENTER", "FCN_API"])
def test_the_variables_that_kubernetes_sets_for_a_service_of_such_a_name_do_no_harm(service):
    environment = {
        f"{service}_PORT": "tcp://10.0.0.1:80",
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "80",
        f"{service}_SERVICE_PORT_HTTP": "80",
        f"{service}_PORT_80_TCP": "tcp://10.0.0.1:80",
        f"{service}_PORT_80_TCP_ADDR": "10.0.0.1",
        f"{service}_PORT_80_TCP_PORT": "80",
        f"{service}_PORT_80_TCP_PROTO": "tcp",
    }
    assert Settings.from_environment(environment) == Settings()


def test_there_are_as_many_streams_as_slots_unless_set():
    assert Settings(slots=3).engine_config().streams == 3
    assert Settings(slots=3, streams=1).engine_config().streams == 1
