"""Weights by URL are downloaded only on request, once, and verified by their hash."""

import hashlib
import http.server
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import raykd
from raykd import UserError
from raykd.__main__ import main
from raykd.methods.kd import KD
from raykd.models import create
from raykd.models.config import Network
from raykd.models.weights.downloads import download, local
from raykd.recipe import Pretrained, Teachers, WandB
from raykd.recipes.digits.supervised import recipe as digits
from raykd.teachers.load import load_teachers

CONTENT = save({key: tensor.contiguous() for key, tensor in create("resnet8", 10, 32).model.state_dict().items()})
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A server of one file, and the paths that were requested."""
    asked = []

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if self.path.endswith("w.safetensors") else 404)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def network(url, **more):
    return Network(name="resnet8", weights=f"{url}/some/w.safetensors", **{"sha256": DIGEST} | more)


def test_a_download_is_verified_and_cached(server, tmp_path):
    url, asked = server
    for _ in range(2):
        download(network(url), str(tmp_path), print)
    assert asked == ["/some/w.safetensors"]
    found = local(network(url), str(tmp_path))
    assert torch.isfinite(create("resnet8", 10, 32, found.weights)(torch.zeros(1, 3, 32, 32))).all()
    (file,) = (tmp_path / "weights").glob("*.safetensors")
    assert file.read_bytes() == CONTENT
    marked = replace(network(url), weights=network(url).weights + "#backbone")
    assert local(marked, str(tmp_path)).weights == f"{file}#backbone"


def test_nothing_is_downloaded_without_permission(server, tmp_path):
    url, asked = server
    with pytest.raises(UserError, match="--download"):
        local(network(url), str(tmp_path))
    assert asked == []


def test_a_file_with_another_hash_is_rejected(server, tmp_path):
    url, _ = server
    other = network(url, sha256="0" * 64)
    with pytest.raises(UserError, match=f"has sha256 {DIGEST}, not 0000"):
        download(other, str(tmp_path), print)
    assert list((tmp_path / "weights").glob("[!.]*")) == []
    with pytest.raises(UserError, match="need `sha256`"):
        download(network(url, sha256=""), str(tmp_path), print)
    download(network(url), str(tmp_path), print)
    (file,) = (tmp_path / "weights").glob("*.safetensors")
    file.write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not the file with sha256"):
        local(network(url), str(tmp_path))


def test_a_killed_download_is_neither_used_nor_left_behind(tmp_path):
    """The server ends in the middle of the file, and the process dies there."""
    code = """
import os, sys
from raykd.models.weights import downloads
from raykd.models.config import Network
def parts(url):
    yield b"half of it"
    os.kill(os.getpid(), 9)
downloads._parts = parts
downloads.download(Network(name="resnet8", weights="https://host/w.safetensors", sha256=sys.argv[1]), sys.argv[2])
"""
    killed = subprocess.run([sys.executable, "-c", code, DIGEST, str(tmp_path)], check=False)
    weights = tmp_path / "weights"
    assert killed.returncode == -9 and [path.suffix for path in weights.glob(".*.tmp*")] == [".safetensors"]
    file = tmp_path / "w.safetensors"
    file.write_bytes(CONTENT)
    named = Network(name="resnet8", weights=file.as_uri(), sha256=DIGEST)
    with pytest.raises(UserError, match="is not in"):
        local(named, str(tmp_path))
    assert Path(local(named, str(tmp_path), may_download=True).weights).read_bytes() == CONTENT
    assert not list(weights.glob(".*.tmp*"))


def test_missing_downloads_are_reported_in_one_line(server, tmp_path):
    url, _ = server
    missing = replace(network(url), weights=f"{url}/nothing")
    with pytest.raises(UserError, match=r"could not be downloaded \(404"):
        download(missing, str(tmp_path), print)
    with pytest.raises(UserError, match="not of the form hf://"):
        download(replace(missing, weights="hf://timm"), str(tmp_path), print)


def test_a_hub_name_is_a_file_of_the_hub(server, tmp_path, monkeypatch):
    url, asked = server
    monkeypatch.setenv("HF_ENDPOINT", url)
    for name in ("hf://timm/resnet8.a1/w.safetensors", "hf://timm/resnet8.a1@v2/sub/w.safetensors"):
        download(Network(name="resnet8", weights=name, sha256=DIGEST), str(tmp_path / name[-20:]), print)
    assert asked == ["/timm/resnet8.a1/resolve/main/w.safetensors", "/timm/resnet8.a1/resolve/v2/sub/w.safetensors"]


def test_file_urls_are_verified_and_cached(tmp_path):
    (tmp_path / "of them").mkdir()
    file = tmp_path / "of them" / "w.safetensors"
    file.write_bytes(CONTENT)
    named = Network(name="resnet8", weights=file.as_uri(), sha256=DIGEST)
    found = local(named, str(tmp_path / "root"), may_download=True)
    assert Path(found.weights).parent == tmp_path / "root" / "weights"
    assert Path(found.weights).read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"could not be downloaded \(.*nothing"):
        download(replace(named, weights=f"{tmp_path.as_uri()}/nothing"), str(tmp_path / "other"))


def test_several_processes_of_a_node_download_once(server, tmp_path):
    url, asked = server
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: local(network(url), str(tmp_path), may_download=True).weights, range(4)))
    assert len(set(found)) == 1 and asked == ["/some/w.safetensors"]


def test_a_run_downloads_what_its_recipe_allows(server, tmp_path, monkeypatch):
    url, asked = server
    monkeypatch.chdir(tmp_path)
    teacher = Pretrained(network=network(url), mean=(0.5,) * 3, std=(0.5,) * 3)
    data = replace(digits.data, root=str(tmp_path / "data"))
    recipe = replace(digits, method=KD.Config(), teachers=Teachers(sources=(teacher,)), data=data)
    recipe = replace(recipe, epochs=0.1, workers=0, wandb=WandB(mode="disabled"))
    with pytest.raises(UserError, match="--data.download"):
        raykd.train(recipe, name="by-url", show=False)
    allowed = replace(recipe, data=replace(data, download=True))
    assert raykd.train(allowed, name="by-url", show=False).result["status"] == "finished"
    assert asked == ["/some/w.safetensors"]


def test_data_prepare_downloads_a_recipes_weights(server, tmp_path, monkeypatch, capsys):
    url, asked = server
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "by_url.py").write_text(
        "from dataclasses import replace\nfrom raykd.models.config import Network\nfrom "
        "raykd.recipes.digits.supervised import recipe as digits\nrecipe = replace(digits, student=Network('resnet8', "
        f"weights='{url}/w.safetensors', sha256='{DIGEST}'))\n"
    )
    prepare = ["data", "prepare", str(tmp_path / "by_url.py"), "--to", str(tmp_path / "data")]
    assert main([*prepare, "--download"]) == 0 and asked == ["/w.safetensors"]
    assert "downloading" in capsys.readouterr().out


PUBLISHED = {
    "timm:resnet18.a1_in1k": "hub/models--timm--resnet18.a1_in1k",
    "torchvision:resnet18": "torch/hub/checkpoints/resnet18-f37072fd.pth",
    "hf:google/vit-base-patch16-224": "hub/models--google--vit-base-patch16-224",
}


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches of torch and of Hugging Face's hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def put(cached):
    """A file in torch's cache, or a repository with one in the hub's."""
    if cached.suffix == ".pth":
        cached.parent.mkdir(parents=True)
        cached.touch()
    else:
        (cached / "refs").mkdir(parents=True)
        (cached / "refs/main").write_text("1" * 40)
        (cached / "snapshots" / ("1" * 40)).mkdir(parents=True)
        (cached / "snapshots" / ("1" * 40) / "model.safetensors").touch()


@pytest.mark.parametrize(("name", "cached"), PUBLISHED.items())
def test_pretrained_weights_of_libraries_are_downloaded_only_if_allowed(name, cached, caches):
    pretrained = Network(name=name, weights="pretrained")
    with pytest.raises(UserError, match=f"weights of {name} are not on this machine.*--data.download"):
        local(pretrained, str(caches))
    assert local(pretrained, str(caches), may_download=True) == pretrained
    put(caches / cached)
    assert local(pretrained, str(caches)) == pretrained


@pytest.mark.parametrize(
    "name", ["timm:nope", "timm:resnet18.nope", "torchvision:nope", "torchvision:", "hf:" + "x" * 500]
)
def test_a_library_without_such_weights_is_reported(name, caches):
    teacher = Teachers(sources=(Pretrained(network=Network(name=name, weights="pretrained")),))
    for read in (
        lambda: local(teacher.sources[0].network, str(caches)),
        lambda: load_teachers(teacher, digits.data, "01", []),
    ):
        with pytest.raises(UserError, match=f"{name} has no published weights .*give a file"):
            read()


def test_missing_weights_are_reported_with_the_option_that_downloads_them(caches, monkeypatch, capsys):
    monkeypatch.chdir(caches)
    settings = ["--student.name", "torchvision:resnet18", "--student.weights", "pretrained", "--workers", "0"]
    assert main(["train", "digits/supervised", *settings, "--data.root", str(caches), "--wandb.mode", "disabled"]) == 2
    assert "raykd: the weights of torchvision:resnet18 are not on this machine" in capsys.readouterr().err
