"""The list of what is left to a soak."""

import subprocess
import sys

from soak import runs


def test_the_list_names_each_file_with_reduced_counts_and_what_is_reduced():
    printed = subprocess.check_output([sys.executable, runs.__file__], text=True)
    for path, reduced in runs.left_out().items():
        assert f"{path}: " in printed
        assert reduced, f"{path} imports counts, and reduces nothing"
    assert "reliability/test_races.py: " in printed
    assert "    count(20, 500)\n" in printed


def test_a_soak_records_the_files_that_it_passed_and_keeps_the_record_of_others(tmp_path):
    file = tmp_path / "runs.json"
    runs.record({"reliability/test_races.py": 12.3, "server/test_guards.py": 1.0}, file)
    runs.record({"store/test_life.py": 60.0}, file)
    found = runs.read(file)
    assert [*found] == ["reliability/test_races.py", "store/test_life.py"]  # the other file has no reduced counts
    assert found["reliability/test_races.py"]["seconds"] == 12
    assert len(found["store/test_life.py"]["commit"].removesuffix("-dirty")) == 10
