"""Istio's samples, validation cases, configurations and examples in its documentation get Istio's verdicts.

Kinds that this version lacks must be refused with a sentence; Kubernetes' own objects are passed over.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshlite.cli.main import root
from meshlite.model.documents import read
from meshlite.model.kinds import EXTENSIONS, KINDS, NETWORKING, SECURITY, TELEMETRY, find
from meshlite.model.support import gaps
from meshlite.model.validate import parse, validate, verdict
from tests.conformance import corpus
from tests.conformance.corpus import Case

pytestmark = corpus.needed

ISTIO = (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS)
GROUPS = (
    "1-samples",
    "2-authz-builder",
    "3-validation",
    "4-config",
    "6b-integration-rendered",
    "8-api-doc-examples",
)


UPPER_CASE_NAMESPACE = {
    "8-api-doc-examples/istio-api/networking/v1alpha3/virtual_service.proto/example-09-line0536.yaml",
    "8-api-doc-examples/istio-api/networking/v1alpha3/virtual_service.proto/example-10-line0555.yaml",
}
"""Examples that Kubernetes would refuse as well: their namespaces are nsA and nsB."""


def of_istio(groups: tuple[str, ...] = GROUPS) -> list[Case]:
    if not corpus.ROOT.is_dir():
        return []
    found = [case for group in groups for case in corpus.cases(group)]
    return [case for case in found if str(case.data.get("apiVersion")).rpartition("/")[0] in ISTIO]


def judged(case: Case) -> list[str]:
    """Istio's verdict, without what this version lacks."""
    reading = read(case.text, case.file)
    problems = [found.reason for found in reading.rejections]
    for document in reading.documents:
        kind = find(document.resource.kind)
        assert kind is not None
        problems += [fault.reason for fault in verdict(kind, document.resource) if not fault.warning]
    return problems


def test_every_kind_gets_a_verdict() -> None:
    assert all(kind.spec and kind.rules for kind in KINDS if kind.group in ISTIO)


def test_every_document_of_istios_validation_cases_is_judged() -> None:
    kinds = {case.kind for case in corpus.cases("3-validation")}
    assert len(kinds) > 10
    assert kinds <= {kind.name for kind in KINDS}


@pytest.mark.parametrize("case", of_istio(), ids=str)
def test_istios_verdict(case: Case) -> None:
    problems = judged(case)
    if case.complaint:
        assert problems, f"accepted, but Istio says: {case.complaint}"
    elif case.file in UPPER_CASE_NAMESPACE:
        assert ["namespace" in problem for problem in problems] == [True]
    else:
        assert problems == []


@pytest.mark.parametrize("case", of_istio(), ids=str)
def test_what_is_lacking_is_said_and_the_rest_is_understood(case: Case) -> None:
    """A good resource is refused only for what the table of gaps names; the rest of it is parsed."""
    if judged(case):
        return
    [document] = read(case.text, case.file).documents
    kind = find(case.kind)
    assert kind is not None
    assert kind.spec is not None
    spec = parse(document.resource, kind.spec)
    lacking = {fault.reason for fault in gaps(kind.name, spec) if not fault.warning}
    assert {found.reason for found in validate(document).rejections} == lacking
    again = kind.spec.model_validate_json(spec.model_dump_json(by_alias=True, exclude_unset=True))
    assert again == spec


def test_validate_gives_istios_verdict_on_every_validation_case(tmp_path: Path) -> None:
    """The command itself, on each document of the group."""
    file = tmp_path / "case.yaml"
    judged_documents = 0
    for case in corpus.cases("3-validation"):
        file.write_text(case.text)
        done = CliRunner().invoke(root, ["validate", "-f", str(file), "-o", "json"])
        value = json.loads(done.stdout)
        assert value["valid"] == (done.exit_code == 0) == (not value["rejected"])
        assert all(found["where"] and found["reason"] for found in value["rejected"])
        if case.complaint:
            assert not value["valid"], f"{case}: accepted, but Istio says: {case.complaint}"
        else:
            assert value["valid"], f"{case}: {value['rejected']}"
        judged_documents += 1
    assert judged_documents > 80


def test_every_sample_file_is_understood_or_refused_for_a_known_reason() -> None:
    """Samples hold Kubernetes' objects, other people's, and files that are no resources at all."""
    reasons: set[str] = set()
    documents = skipped = 0
    for path in sorted((corpus.ROOT / "1-samples").rglob("*.yaml")):
        reading = read(path.read_text(), path.name)
        documents += len(reading.documents)
        skipped += len(reading.warnings)
        reasons |= {found.reason for found in reading.rejections}
    known = ("is not supported by this version of meshlite", "is not known to meshlite", "is required")
    assert not [reason for reason in reasons if not any(word in reason for word in known)]
    assert documents > 30
    assert skipped > 100


def test_bookinfo_applies_unmodified() -> None:
    """The files that Istio's own walk-through applies within the mesh."""
    folder = corpus.ROOT / "1-samples/istio/samples/bookinfo/networking"
    names = [
        path.name
        for path in folder.glob("*.yaml")
        if not path.name.startswith(("bookinfo-gateway", "egress"))
    ]
    assert len(names) >= 10
    for name in names:
        reading = read((folder / name).read_text(), name)
        assert reading.rejections == ()
        assert [validate(document).rejections for document in reading.documents] == [()] * len(
            reading.documents
        )
