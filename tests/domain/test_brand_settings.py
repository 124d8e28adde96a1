"""Brand of the pages: colours with enough contrast, and logos that are images."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callback_edge import brand
from callback_edge.brand import BrandError, contrast, lightened, load_brand
from callback_edge.settings import EdgeSettings

SVG = b'<?xml version="1.0"?>\n<!-- logo -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'
PNG = b"\x89PNG\r\n\x1a\n and more"
JPEG = b"\xff\xd8\xff\xe0 and more"
colors = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


def load(**given_):
    fields = {"name": "", "logo_file": None, "logo_dark_file": None, "color": None, "color_dark": None}
    return load_brand(**fields | given_)


def variables(style):
    """Return the variables of the light and of the dark scheme."""
    return [
        dict(pair.strip().split(": ") for pair in part.partition("}")[0].strip().split(";") if pair.strip())
        for part in style.split(":root {")[1:]
    ]


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21), ("#ffffff", "#ffffff", 1), ("#777777", "#ffffff", 4.48), ("#0000ff", "#ffffff", 8.59)],
)
def test_contrast_is_that_of_wcag(one, other, ratio):
    assert round(contrast(one, other), 2) == round(contrast(other, one), 2) == ratio


@given(colors)
def test_the_text_on_a_colour_is_readable_also_under_the_pointer(color):
    for scheme in variables(load(color=color).style):
        assert contrast(scheme["--act"], scheme["--act-ink"]) >= 4.5
        assert contrast(scheme["--act-over"], scheme["--act-ink"]) >= 4.5


@given(colors)
def test_a_colour_becomes_light_enough_for_the_dark_scheme(color):
    assert contrast(lightened(color), brand.DARK_CARD) >= brand.MIN_CONTRAST
    assert variables(load(color=color).style)[1]["--act"] == lightened(color)


def test_a_colour_of_its_own_for_the_dark_scheme_is_used():
    light, dark = variables(load(color="#1a56b8", color_dark="#ffcc00").style)
    assert (light["--act"], dark["--act"], dark["--act-ink"]) == ("#1a56b8", "#ffcc00", "#000000")


@pytest.mark.parametrize(("content", "kind"), [(SVG, "svg+xml"), (PNG, "png"), (JPEG, "jpeg")])
def test_a_logo_is_the_data_of_an_image(tmp_path, content, kind):
    (tmp_path / "logo").write_bytes(content)
    data = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    assert load(logo_file=tmp_path / "logo", logo_dark_file=tmp_path / "logo").logo == data
    assert EdgeSettings(brand_name="Acme", brand_logo_file=tmp_path / "logo").load_brand().logo == data


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "is not an SVG, PNG or JPEG image"),
        (b"<html>", "is not an SVG, PNG or JPEG image"),
        (b"<svg>\xff", "is not an SVG, PNG or JPEG image"),
        (SVG + b" " * 32 * 1024, "has 32,84"),
    ],
)
def test_a_file_that_is_no_logo_is_refused(tmp_path, content, problem):
    file = tmp_path / "logo"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BrandError, match=f"brand_logo_file {file}: {problem}"):
        load(logo_file=file)
