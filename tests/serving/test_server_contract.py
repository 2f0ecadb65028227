"""The OpenAPI description is kept: random requests, good and bad, get the answers that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from served import make_index, serving

from spladev3_anserini.serving.app import make_app


@pytest.fixture(scope="module")
def described(tiny: Path, tmp_path_factory: pytest.TempPathFactory,
              _indexes_here: object) -> Iterator[schemathesis.BaseSchema]:
    index = make_index(tiny, tmp_path_factory.mktemp("described"), store_texts=True)
    with serving({"index": index}) as service:
        yield schemathesis.openapi.from_asgi("/openapi.json", make_app(service))


checks.load_all_checks()
#: `positive_data_acceptance` is left out: that a request has either a text or impacts, and names indexes
#: that are there, is more than the description can say.
CHECKS = [checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
          checks.response_headers_conformance, checks.response_schema_conformance,
          checks.negative_data_rejection, checks.unsupported_method, checks.allow_header_conformance]


@pytest.mark.parametrize("mode", [*GenerationMode], ids=lambda mode: mode.value)
def test_random_requests(described: schemathesis.BaseSchema, mode: GenerationMode) -> None:
    asked = []
    for result in described.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=25, derandomize=True, deadline=None, database=None,
                  suppress_health_check=[*HealthCheck])
        def is_kept(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        try:
            is_kept()
        except Unsatisfiable:  # a route without parameters takes no bad ones
            continue
        asked.append(operation.label)
    assert len(asked) == (6 if mode is GenerationMode.POSITIVE else 4), asked
