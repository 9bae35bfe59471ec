"""Weights that a recipe names by URL: downloaded once on request, verified by their hash, and stored.

`https://HOST/FILE`, or `hf://ORG/REPO/FILE` (`hf://ORG/REPO@REVISION/FILE`) of Hugging Face's hub.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from raykd import UserError
from raykd.models.config import Network

BACKBONE = "#backbone"
CHUNK = 1 << 20


def is_remote(network: Network) -> bool:
    return network.weights.startswith(("https://", "http://", "hf://"))


def local(network: Network, root: str) -> Network:
    """The same network with its weights' file below the folder `root`, if it names a URL.

    Raises UserError where the file is not there, or is another one than its hash says.
    """
    if not is_remote(network):
        return network
    path = local_path(network, root)
    if not path.is_file():
        raise UserError(f"{network.weights} is not in {path.parent}: `raykd data prepare RECIPE --download` fetches it")
    if _hash(path) != network.sha256.lower():
        raise UserError(f"{path} is not the file with sha256 {network.sha256}: delete it and download it again")
    return replace(network, weights=f"{path}{BACKBONE if network.weights.endswith(BACKBONE) else ''}")


def local_path(network: Network, root: str) -> Path:
    """The local path of the file; it contains the hash, so that files of equal names don't collide."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", network.sha256):
        raise UserError(f"{network.weights}: weights by URL need `sha256`, the file's 64 hexadecimal digits")
    name = network.weights.removesuffix(BACKBONE).partition("?")[0].rpartition("/")[2]
    return Path(root).expanduser() / "weights" / f"{network.sha256[:12].lower()}-{name}"


def download(network: Network, root: str, say: Callable[[str], None]) -> None:
    """Fetch the weights of a network that names a URL, unless they are there; the file appears whole or not at all.

    Raises UserError where it can't be had, or is another one than its hash says.
    """
    if not is_remote(network) or (path := local_path(network, root)).is_file():
        return
    url = _url(network.weights.removesuffix(BACKBONE))
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    say(f"downloading {network.weights}")
    try:
        digest = _fetch(url, partial)
        if digest != network.sha256.lower():
            raise UserError(f"{network.weights} has sha256 {digest}, not {network.sha256}: it is another file")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _fetch(url: str, path: Path) -> str:
    """Download a URL to a file; returns its SHA-256."""
    import requests

    digest = hashlib.sha256()
    try:
        with requests.get(url, stream=True, timeout=60) as answer, open(path, "wb") as file:
            answer.raise_for_status()
            for part in answer.iter_content(CHUNK):
                digest.update(part)
                file.write(part)
    except (requests.RequestException, OSError) as error:
        raise UserError(f"{url} could not be downloaded: {' '.join(str(error).split())[:200]}") from error
    return digest.hexdigest()


def _url(name: str) -> str:
    if not name.startswith("hf://"):
        return name
    match = re.fullmatch(r"hf://([^/]+/[^/@]+)(?:@([^/]+))?/(.+)", name)
    if match is None:
        raise UserError(f"{name} is not of the form hf://ORG/REPO/FILE or hf://ORG/REPO@REVISION/FILE")
    repository, revision, file = match.groups()
    home = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return f"{home}/{repository}/resolve/{revision or 'main'}/{file}"


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
