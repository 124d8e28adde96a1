"""The documentation as a site: it is built as `tasks.py docs` builds it, and has every public name."""

import re
import subprocess
import sys

import pytest
from support.tree import ROOT

import callback
from callback.v1 import callbacks_service_pb2, error_reason_pb2, worker_service_pb2


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build the site as the task does: a link or an anchor that leads nowhere is a warning, and so an error."""
    target = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", target], cwd=ROOT, capture_output=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "true"}, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return target


def ids(page):
    return set(re.findall(r'\bid="([^"]+)"', page.read_text()))


def test_the_contract_is_there_with_each_rpc_message_and_reason(site):
    for module, page in ((callbacks_service_pb2, "callbacks_service"), (worker_service_pb2, "worker_service")):
        (service,) = module.DESCRIPTOR.services_by_name.values()
        names = {*module.DESCRIPTOR.message_types_by_name, *(f"{service.name}.{each.name}" for each in service.methods)}
        assert names - ids(site / "reference" / f"{page}.html") == set()
    reasons = (site / "reference" / "error_reason.html").read_text()
    assert [name for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name if name not in reasons] == []
    assert not (site / "reference" / "edge_service.html").exists()


def test_each_public_name_of_the_python_client_is_there(site):
    shown = ids(site / "python.html")
    assert [name for name in callback.__all__ if f"callback.{name}" not in shown] == []
    assert [name for name in shown if name.startswith("callback.") and "._" in name] == []


def test_links_of_the_readme_lead_to_pages_and_what_has_no_page_is_named(site):
    start = (site / "index.html").read_text()
    assert 'href="answers.html#the-same-request-again"' in start
    assert "<code>tests/fundamentals/test_fundamentals.py</code> in the repository" in start
    assert (site / "deploy" / "nginx.conf").read_bytes() == (ROOT / "docs/deploy/nginx.conf").read_bytes()


def test_a_page_loads_nothing_from_other_sites(site):
    loads = re.compile(r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(https?:|//)')
    assert [page.name for page in site.rglob("*.html") if loads.search(page.read_text())] == []


def test_a_link_that_leads_nowhere_is_a_warning():
    settings = (ROOT / "mkdocs.yml").read_text().partition("\nvalidation:\n")[2].partition("\nnav:")[0]
    assert set(re.findall(r"  (\w+): (\w+)", settings)) == {
        (kind, "warn") for kind in ("omitted_files", "absolute_links", "unrecognized_links", "anchors", "not_found")
    }
