"""Stubs of the released contract compile in other languages: the quick ones here, all in a soak."""

import pytest
from languages.stubs import LANGUAGES, Language, StubsError, run, unpack
from soak.counts import SOAK


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("contract"))


@pytest.mark.parametrize("name", [name for name, each in LANGUAGES.items() if SOAK or each.is_quick])
def test_the_stubs_compile(contract, tmp_path, name, request):
    if name.startswith("TypeScript"):
        request.getfixturevalue("built")
    if problem := LANGUAGES[name].problem:
        pytest.skip(f"{name}: {problem}")
    LANGUAGES[name].compile(contract, tmp_path)


def test_a_language_whose_toolchain_is_missing_is_named_with_its_packages():
    language = Language(("python3", "no-such-compiler", "/no/such/file"), "a-compiler a-library", lambda *_: None)
    assert language.problem == "missing no-such-compiler, /no/such/file: apt install a-compiler a-library"


def test_stubs_that_do_not_compile_are_an_error(tmp_path):
    (tmp_path / "wrong.py").write_text("message Hello {")
    with pytest.raises(StubsError, match="SyntaxError"):
        run("python3", tmp_path / "wrong.py")
