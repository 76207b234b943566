"""Requests made from the OpenAPI document, and answers held to it: every route, by schemathesis."""

from __future__ import annotations

import hypothesis
import pytest
from schemathesis import openapi
from schemathesis.specs.openapi.checks import positive_data_acceptance

from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

DOCUMENT = create_app(Station(Settings())).openapi()
ROUTES = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def document(tiny_bundle):
    station = Station(Settings(precision="f32"))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    yield openapi.from_asgi("/openapi.json", Guard(create_app(station), lambda: station.model_version))
    station.close()


@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_as_the_document_has_it(document, route):
    method, path = route.split(" ")

    @hypothesis.settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=document[path][method].as_strategy())
    def ask(case):
        # Whether bytes are a picture, a text base64 of one or a name a class of this model, no schema can say.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()
