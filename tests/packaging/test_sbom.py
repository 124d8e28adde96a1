"""The bill of materials: it has every dependency of what runs, follows the schema, and has nothing of this machine."""

import getpass
import json
import os
import re
import runpy
import sys
from importlib import metadata
from pathlib import Path

import pytest
from support.tree import ROOT

SECRET = "hunter2-in-the-environment"


@pytest.fixture(scope="module")
def module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PASSWORD", SECRET)
        yield runpy.run_path(str(ROOT / "generators" / "sbom.py"), run_name="sbom")


@pytest.fixture(scope="module")
def found(module):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")  # without Go, whose module cache another machine does not have
        return module["dependencies"]()


def test_it_lists_every_package_that_runs_in_each_language(found):
    names = {each.purl.to_string() for each in found}
    lock = (ROOT / "requirements" / "up.lock").read_text()
    installed = {re.sub(r"[-_.]+", "-", each.name).lower() for each in metadata.distributions()}
    python = {name for name in re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE) if name in installed}
    assert {f"pkg:pypi/{name}@{metadata.version(name)}" for name in python} <= names
    assert len(python) > 40
    modules = re.findall(r"^\t(\S+) (v\S+)", (ROOT / "clients" / "go" / "go.mod").read_text(), re.MULTILINE)
    assert {f"pkg:golang/{name}@{version}" for name, version in modules} <= {each.lower() for each in names}
    node = json.loads((ROOT / "clients" / "typescript" / "package.json").read_text())["dependencies"]
    assert node.keys() <= {f"{each.group}/{each.name}" if each.group else each.name for each in found}


def test_every_package_of_python_and_node_has_a_licence(found, module):
    assert [each.name for each in found if each.purl.type != "golang" and not each.licenses] == []
    assert "unknown" not in "".join(module["line"](each) for each in found if each.purl.type != "golang")


def test_the_document_has_nothing_of_this_machine(found, module):
    text = module["document"](found)
    planted = [SECRET, str(ROOT), str(Path.home()), sys.prefix, os.sep + "tmp", "file:", "@" + getpass.getuser()]
    assert [word for word in planted if word in text] == []


def test_a_document_that_does_not_follow_the_schema_is_refused(found, module):
    one = found[0]
    one.copyright, one.name = one.name, one.name
    wrong = type(one)(name="x", type=one.type, version="1", mime_type="no type")
    with pytest.raises(ValueError, match="not valid CycloneDX"):
        module["document"]([wrong])
