"""Users without a home, with one that can't be written to, or with a temporary folder of a long name."""

import os
import tempfile
from pathlib import Path

import pytest

from raykd import UserError, home


@pytest.fixture
def said(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    for name in ("HOME", "USER", "TMPDIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return []


@pytest.mark.parametrize("unusable", ["/dev/null/home", "/proc/1/nothing"])
def test_an_unusable_home_is_replaced_and_reported(said, monkeypatch, unusable):
    monkeypatch.setenv("HOME", unusable)
    home.provide(said.append)
    (line,) = said
    assert os.environ["HOME"] in line and os.access(os.environ["HOME"], os.W_OK)
    assert Path("~/.cache/raykd").expanduser().is_relative_to(os.environ["HOME"])
    assert os.stat(os.environ["HOME"]).st_mode & 0o077 == 0


@pytest.mark.parametrize("taken", ["file", "link", "open folder"])
def test_a_folder_of_another_user_is_not_used(said, monkeypatch, tmp_path, taken):
    name = tmp_path / f"raykd-home-{os.getuid()}"
    {"file": name.touch, "link": lambda: name.symlink_to("/nowhere"), "open folder": lambda: name.mkdir()}[taken]()
    monkeypatch.setattr(home, "LONGEST", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/dev/null/home")
    home.provide(said.append)
    assert os.environ["HOME"] != str(name) and os.stat(os.environ["HOME"]).st_mode & 0o077 == 0


def test_a_missing_temporary_folder_is_reported_in_one_line(said, monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(UserError, match="TMPDIR: neither it nor /tmp can be written to"):
        home.provide(said.append)


def test_a_usable_home_is_kept(said, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    home.provide(said.append)
    assert os.environ["HOME"] == str(tmp_path) and said == []


def test_a_long_temporary_folder_is_replaced_and_reported(said, monkeypatch, tmp_path):
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    home.provide(said.append)
    assert tempfile.gettempdir() == "/tmp" and len(said) == 1 and "too long" in said[0]


def test_a_user_without_a_name_gets_a_default(said, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    home.provide(said.append)
    import getpass

    assert getpass.getuser()
