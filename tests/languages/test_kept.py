"""What is kept between runs: nothing of a failure, and nothing that other content was the cause of."""

import pytest
from support.kept import check_once, content_of, make_once


def test_a_check_that_passed_is_not_repeated_until_its_content_changes(tmp_path):
    ran = []
    for content in ("one", "one", "two", "one"):
        check_once(
            "check", lambda content=content: content, lambda content=content: ran.append(content), folder=tmp_path
        )
    assert ran == ["one", "two", "one"]


def test_a_check_is_repeated_after_a_failure_and_after_a_change_while_it_ran(tmp_path):
    ran, contents = [], iter(["one", "one", "two", "two", "two"])

    def fail():
        ran.append("failed")
        pytest.fail("it fails")

    with pytest.raises(pytest.fail.Exception):
        check_once("check", lambda: "one", fail, folder=tmp_path)
    for _ in range(3):
        check_once("check", lambda: next(contents), lambda: ran.append("passed"), folder=tmp_path)
    assert ran == ["failed", "passed", "passed"]


def test_what_is_made_is_made_again_for_other_content_and_after_a_failure(tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        assert len(made) > 1
        return folder.name

    with pytest.raises(AssertionError):
        make_once("it", lambda: "1", make, folder=tmp_path)
    assert [make_once("it", lambda content=content: content, make, folder=tmp_path) for content in "1121"] == [
        "it-1", "it-1", "it-2", "it-1",
    ]  # fmt: skip
    assert len(made) == 3


def test_the_content_has_the_names_and_bytes_of_files_and_the_facts(tmp_path):
    (tmp_path / "folder" / "dist").mkdir(parents=True)
    (tmp_path / "folder" / "dist" / "made").write_text("1")

    def content(path, text, version="1"):
        for each in tmp_path.rglob("*.go"):
            each.unlink()
        (tmp_path / path).write_text(text)
        return content_of("folder", root=tmp_path, version=version)

    first = content("folder/a.go", "1")
    (tmp_path / "folder" / "dist" / "made").write_text("2")
    assert content("folder/a.go", "1") == first
    others = [content("folder/a.go", "2"), content("folder/b.go", "1"), content("folder/a.go", "1", version="2")]
    assert len({first, *others}) == 4
