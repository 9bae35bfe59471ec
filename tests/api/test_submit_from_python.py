"""The files that are sent with a job, without a cluster."""

import http.server
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import raykd
from raykd.api.starting.job import Request, _packed, check, check_sources
from raykd.api.starting.plan import loaded_as
from raykd.launch.jobs.submit import connect
from raykd.recipe.files.load import load


def request(recipe, name=""):
    loaded, name = loaded_as(recipe, name)
    return Request(
        loaded=loaded,
        recipe=loaded.recipe,
        name=name,
        address="",
        storage="",
        command="train",
        wandb_key="send",
    )


def test_a_recipe_made_in_python_is_sent_as_equivalent_source(recipe, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    name, what, size = _packed(request(recipe, "mine/quick"), tmp_path / "folder")
    assert (tmp_path / "folder" / "raykd" / "recipes" / "digits" / "kd.py").is_file() and size > 0
    assert not (tmp_path / "folder" / "raykd" / "recipes" / "__init__.py").exists()
    monkeypatch.chdir(tmp_path / "folder")
    assert load(name).recipe == recipe


def test_a_recipe_made_in_python_is_sent_although_a_file_has_its_name(recipe, tmp_path, monkeypatch):
    for name in ("project", "sent"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("quick.py").write_text("from raykd.recipes.digits.kd import recipe\n")
    name, what, _ = _packed(request(recipe, "quick"), tmp_path / "sent")
    monkeypatch.chdir(tmp_path / "sent")
    assert load(name).recipe == recipe and not Path("quick.py").exists()


def test_a_shipped_recipe_is_sent_by_name_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    name, what, _ = _packed(request("digits/kd"), tmp_path / "folder")
    assert (name, what) == ("digits/kd", "raykd")
    assert (tmp_path / "folder/raykd/recipes/digits/teacher.py").is_file()


def test_every_module_of_raykd_is_sent(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    _packed(request("digits/kd"), tmp_path / "folder")
    package = Path(raykd.__file__).parent
    modules = {path.relative_to(package) for path in package.rglob("*.py") if "recipes" not in path.parts}
    sent = tmp_path / "folder" / "raykd"
    assert modules == {path.relative_to(sent) for path in sent.rglob("*.py") if "recipes" not in path.parts}


def test_a_study_is_sent_by_its_name(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = []
    monkeypatch.setattr("raykd.launch.jobs.submit.connect", lambda address: None)
    monkeypatch.setattr("raykd.launch.jobs.submit.submit", lambda client, job, folder: sent.append(job) or "id")
    more = {"address": "http://127.0.0.1:8265", "command": "study", "wait": False, "show": False}
    assert raykd.submit("studies/crd", storage="/runs", wandb_key="cluster", **more).id == "id"
    words = "python -m raykd study studies/crd --name studies/crd --storage /runs"
    assert [job.entrypoint for job in sent] == [words]
    with pytest.raises(raykd.UserError, match="needs the path of a study's file"):
        raykd.submit(recipe, name="mine", **more)


def test_a_search_made_in_python_is_rejected(recipe, tmp_path):
    search = replace(recipe, search=raykd.Search(space={"epochs": None}))
    with pytest.raises(raykd.UserError, match="must be in a file to be submitted"):
        _packed(request(search, "mine"), tmp_path)


def test_the_address_and_the_storage_are_checked_before_anything_is_sent():
    with pytest.raises(raykd.UserError, match="address"):
        check("", "", ())
    with pytest.raises(raykd.UserError, match="relative"):
        check("http://127.0.0.1:8265", "runs", ())


@pytest.mark.parametrize("place", ["recipe", "module"])
def test_recipes_with_credentials_are_not_sent(recipe, place):
    """Files that are sent stay on the cluster, where others can read them."""
    uri = "s3://KEY:SECRET@bucket/data"
    shared = replace(recipe, data=replace(recipe.data, shared=uri if place == "recipe" else ""))
    sources = {"mine.py": f'DATA = "{uri}"' if place == "module" else "DATA = 1"}
    with pytest.raises(raykd.UserError, match="has credentials in a URI") as refused:
        check_sources(sources, shared)
    assert ("mine.py" in str(refused.value)) == (place == "module") and "SECRET" not in str(refused.value)
    check_sources({"mine.py": "DATA = 1"}, recipe)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:8265", "is not an http"),
        ("http://127.0.0.1:1", "nothing answers there"),
        ("http://:8265", "nothing answers there"),
        ("http://127.0.0.1:eight", "nothing answers there"),
    ],
)
def test_an_unreachable_address_is_reported_in_one_line(recipe, address, says):
    with pytest.raises(raykd.UserError, match=says) as caught:
        raykd.submit(recipe, address=address, name="mine", show=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "answer"), [(404, b""), (500, b"down"), (200, b"<html>"), (200, b"{}"), (200, b'{"ray_version": ""}')]
)
def test_a_server_other_than_ray_is_reported_in_one_line(status, answer):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(raykd.UserError, match="no usable Ray job server at http://127.0.0.1") as caught:
            connect(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert "\n" not in str(caught.value)
