"""Bill of materials: every dependency of what runs, with its version and licence, as CycloneDX JSON and as text.

It has names, versions and licences only: nothing of this machine.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parents[1]
_SCHEMA = SchemaVersion.V1_6
_LICENSES = LicenseFactory()
_GO_LICENSES = {
    "Apache License": "Apache-2.0",
    "Neither the name": "BSD-3-Clause",
    "Permission is hereby granted, free of charge": "MIT",
}
"""Words that only the text of one licence has. Go has no field for it."""


def dependencies() -> list[Component]:
    """Return the dependencies of the Python package and of the clients in Go and for Node."""
    return [*python_packages(), *npm_packages(), *go_modules()]


def line(dependency: Component) -> str:
    """Return a dependency as text: its registry, name, version and licence."""
    kind = dependency.purl.type if dependency.purl else ""
    licenses = ", ".join(map(_named, dependency.licenses)) or "unknown"
    return f"{kind:7} {_full_name(dependency):45} {dependency.version or '':20} {licenses}"


def _named(given: License) -> str:
    return given.value if isinstance(given, LicenseExpression) else given.id or given.name or ""


def _full_name(dependency: Component) -> str:
    return f"{dependency.group}/{dependency.name}" if dependency.group else dependency.name


def document(found: list[Component]) -> str:
    """Return the bill of materials of these dependencies as CycloneDX JSON.

    Raises:
        ValueError: It does not follow the schema.
    """
    product = _component("callback", metadata.version("callback"), "Apache-2.0", "pypi")
    product.type = ComponentType.APPLICATION
    bom = Bom(components=found)
    bom.metadata.component = product
    bom.register_dependency(product, found)
    text = make_outputter(bom, OutputFormat.JSON, _SCHEMA).output_as_string(indent=2)
    if error := JsonStrictValidator(_SCHEMA).validate_str(text):
        raise ValueError(f"not valid CycloneDX {_SCHEMA.to_version()}: {error}")
    return text


def python_packages() -> Iterator[Component]:
    """Yield the packages of requirements/up.lock that this version of Python and this system need."""
    for name in sorted({*re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements/up.lock").read_text(), re.MULTILINE)}):
        try:
            facts = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # for another version of Python, or another system
        yield _component(name, facts["Version"], _python_license(facts), "pypi")


def _python_license(facts: metadata.PackageMetadata) -> str | None:
    given = facts.json  # by the names of fields in lower case
    if expression := given.get("license_expression"):
        return str(expression)
    text = str(given.get("license") or "")
    named = [each.rpartition(" :: ")[2] for each in given.get("classifier") or () if each.startswith("License ::")]
    return text if text and len(text) < 60 and "\n" not in text else " and ".join(named) or None


def npm_packages() -> Iterator[Component]:
    """Yield the packages that the client for Node uses at run time."""
    lock = json.loads((ROOT / "clients/typescript/package-lock.json").read_text())
    for path, facts in sorted(lock["packages"].items()):
        if path and not facts.get("dev"):
            yield _component(path.rpartition("node_modules/")[2], facts["version"], facts.get("license"), "npm")


def go_modules() -> Iterator[Component]:
    """Yield the modules of go.mod. Their licences are read from the module cache, with Go."""
    folder = ROOT / "clients" / "go"
    needed = re.findall(r"^\t(\S+) (v\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
    folders: dict[str, Path] = {}
    if go := shutil.which("go"):
        names = [f"{name}@{version}" for name, version in needed]
        ran = subprocess.run(
            [go, "mod", "download", "-json", *names], cwd=folder, capture_output=True, text=True, check=False
        )
        for text in re.findall(r"^\{.*?^\}", ran.stdout, re.MULTILINE | re.DOTALL):
            facts = json.loads(text)
            folders |= {facts["Path"]: Path(facts["Dir"])} if "Dir" in facts else {}
    for name, version in needed:
        yield _component(name, version, _go_license(folders.get(name)), "golang")


def _go_license(folder: Path | None) -> str | None:
    file = next(iter(sorted(folder.glob("LICENSE*"))), None) if folder else None
    text = " ".join(file.read_text().split()) if file else ""
    return next((name for words, name in _GO_LICENSES.items() if words in text), None)


def _component(name: str, version: str, licensed: str | None, kind: str) -> Component:
    namespace, _, short = name.rpartition("/")
    url = PackageURL(kind, namespace or None, short, version)
    return Component(
        name=short,
        group=namespace or None,
        version=version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[_LICENSES.make_from_string(licensed)] if licensed else (),
    )
