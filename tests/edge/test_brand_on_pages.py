"""The brand of the operator on the pages of an edge."""

import base64

from support.edge import BROWSER, ask, failed_start, refusing, running_edge, style_hash

SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


async def test_name_logo_and_colour_are_on_every_page(plane, tmp_path):
    (tmp_path / "logo.svg").write_text(SVG)
    data = f"data:image/svg+xml;base64,{base64.b64encode(SVG.encode()).decode()}"
    plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
    brand = {"brand_name": "Acme <Sons>", "brand_logo_file": tmp_path / "logo.svg", "brand_color": "#b3261e"}
    async with running_edge(plane.target, **brand) as edge:
        for path in ("/nowhere", None):
            answer = await ask(edge, path, headers=[BROWSER])
            page = answer.text
            assert " · Acme &lt;Sons&gt;</title>" in page
            assert f'<img class="logo" src="{data}" alt="Acme &lt;Sons&gt;">' in page
            assert "--act: #b3261e" in page
            assert "onload" not in page
            policy = answer["content-security-policy"].split("; ")
            assert {"default-src 'none'", f"style-src {style_hash(page)}", "img-src data:"} <= set(policy)


async def test_a_name_without_a_logo_is_text(plane):
    async with running_edge(plane.target, brand_name="Acme") as edge:
        answer = await ask(edge, "/nowhere", headers=[BROWSER])
        assert '<p class="brand">Acme</p>' in answer.text
        assert "img-src" not in answer["content-security-policy"]


async def test_an_error_links_to_the_website_of_the_brand_and_other_pages_do_not(plane):
    async with running_edge(plane.target, brand_name="Acme", brand_url="https://acme.example/?a=1&b=2") as edge:
        link = '<a href="https://acme.example/?a=1&amp;b=2">Go to Acme</a>'
        assert link in (await ask(edge, "/nowhere", headers=[BROWSER])).text
        plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        assert "acme.example" not in (await ask(edge, headers=[BROWSER])).text


async def test_a_template_of_the_operator_can_use_the_brand_or_leave_it_out(plane, tmp_path):
    (tmp_path / "error.html").write_text("{{ heading }} at {{ brand.name }}")
    async with running_edge(plane.target, templates_dir=tmp_path, brand_name="Acme", brand_color="#b3261e") as edge:
        assert (await ask(edge, "/nowhere", headers=[BROWSER])).body == b"Page not found at Acme"


async def test_an_edge_with_a_broken_logo_does_not_start(tmp_path):
    line = f"callback edge: brand_logo_file {tmp_path}/none.svg: No such file or directory\n"
    assert await failed_start(brand_logo_file=tmp_path / "none.svg") == (1, [line])
