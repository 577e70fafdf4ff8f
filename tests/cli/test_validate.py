"""`meshlite validate`: faults are told with file, line, field and reason, without a mesh."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meshlite.cli.main import root
from meshlite.cli.tour.rules import FOLDER

CORPUS = Path(os.environ.get("MESHLITE_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
BOOKINFO = CORPUS / "1-samples" / "istio" / "samples" / "bookinfo" / "networking"

GOOD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
"""


def validate(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(root, ["validate", *arguments], input=stdin)


def test_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = validate("-f", str(tmp_path / "a.yaml"))
    assert done.exit_code == 0
    assert done.stdout == "1 valid: VirtualService/default/reviews\n"


def test_standard_input_and_namespace() -> None:
    done = validate("-f", "-", "-n", "shop", "-o", "json", stdin=GOOD)
    value = json.loads(done.stdout)
    assert value == {
        "valid": True,
        "resources": ["VirtualService/shop/reviews"],
        "rejected": [],
        "warnings": [],
    }


def test_a_folder_is_read_in_order_of_name_and_only_its_yaml(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(GOOD.replace("name: reviews}", "name: second}"))
    (tmp_path / "a.yml").write_text(GOOD.replace("name: reviews}", "name: first}"))
    (tmp_path / "notes.txt").write_text("not: [yaml")
    done = validate("-f", str(tmp_path))
    assert done.stdout == "2 valid: VirtualService/default/first, VirtualService/default/second\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "reason"),
    [
        ("subset: v1", "subst: v1", 9, "spec.http[0].route[0].destination.subst", "did you mean subset"),
        ("hosts: [reviews]", "hosts: reviews", 6, "spec.hosts", ""),
        ("VirtualService", "VirtualServise", 3, "kind", "unknown kind"),
        ("networking.istio.io/v1", "networking.istio.io/v7", 3, "kind", "write apiVersion"),
        ("- route:", "- timeout: 5x\n    route:", 8, "spec.http[0].timeout", ""),
    ],
)
def test_a_fault_is_told_with_file_line_field_and_reason(
    old: str, new: str, line: int, field: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace(old, new))
    done = validate("-f", str(file))
    assert done.exit_code == 1
    assert done.stdout == ""
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"{file}:{line}: ")
    assert f": {field}: " in first
    assert reason in first


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("subset: v1", "subst: v1"))
    (tmp_path / "b.yaml").write_text("a: [\n")
    (tmp_path / "c.yaml").write_text(GOOD)
    done = validate("-f", str(tmp_path), "-o", "json")
    assert done.exit_code == 1
    value = json.loads(done.stdout)
    assert not value["valid"]
    assert {Path(row["where"].partition(":")[0]).name for row in value["rejected"]} == {"a.yaml", "b.yaml"}
    assert "2 errors" in done.stderr


@pytest.mark.parametrize("name", ["no.yaml", "empty"])
def test_nothing_to_read_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = validate("-f", str(tmp_path / name))
    assert done.exit_code in (1, 2)
    assert name in done.stderr


def test_the_tours_files_are_valid() -> None:
    for file in FOLDER.glob("*.yaml"):
        assert validate("-f", str(file)).exit_code == 0, file


@pytest.mark.skipif(not BOOKINFO.is_dir(), reason="the corpus is not there")
@pytest.mark.parametrize(
    "name",
    [
        "destination-rule-all.yaml",
        "virtual-service-all-v1.yaml",
        "virtual-service-reviews-80-20.yaml",
        "virtual-service-reviews-test-v2.yaml",
        "virtual-service-ratings-test-abort.yaml",
        "fault-injection-details-v1.yaml",
    ],
)
def test_istios_bookinfo_rules_are_valid_as_they_are(name: str) -> None:
    done = validate("-f", str(BOOKINFO / name))
    assert done.exit_code == 0, done.stderr


def test_what_is_no_text_or_never_ends_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder" / "a.yaml").mkdir(parents=True)
    for name, said in {
        "binary.yaml": "is not text",
        "endless.yaml": "is larger than 16 MiB",
        "folder": "cannot be read",
    }.items():
        done = validate("-f", str(tmp_path / name))
        assert done.exit_code == 1
        assert said in done.stderr
    assert "- is not text" in CliRunner().invoke(root, ["validate", "-f", "-"], input=b"\xff").stderr
