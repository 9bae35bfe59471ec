"""Weights that a recipe names by URL: downloaded once on request, verified by their hash, and stored.

Those of libraries are stored in the libraries' own caches. URLs are
`https://HOST/FILE`, `file:///FOLDER/FILE`, or `hf://ORG/REPO/FILE` (`hf://ORG/REPO@REVISION/FILE`) of Hugging Face's
hub.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from raykd import UserError
from raykd.models.config import Network
from raykd.models.weights.library import expect_cached
from raykd.output import message_of
from raykd.storage import atomic

BACKBONE = "#backbone"
SCHEMES = ("https://", "http://", "file://", "hf://")
CHUNK = 1 << 20


def is_remote(network: Network) -> bool:
    """Whether a network's weights are given by a URL."""
    return network.weights.startswith(SCHEMES)


def local(network: Network, root: str, may_download: bool = False) -> Network:
    """The same network with its weights' file below the folder `root`, if it names a URL.

    may_download: fetch missing weights, also those of a library. Raises UserError if weights are not on this machine,
    or if their hash is not the recipe's.
    """
    if network.weights == "pretrained" and not may_download:
        expect_cached(network.name)
    if not is_remote(network):
        return network
    if may_download:
        download(network, root)
    path = local_path(network, root)
    if not path.is_file():
        raise UserError(
            f"{network.weights} is not in {path.parent}: download it with `raykd data prepare RECIPE --download`, or "
            "on each node with --data.download"
        )
    if _hash(path) != network.sha256.lower():
        raise UserError(f"{path} is not the file with sha256 {network.sha256}: delete it and download it again")
    return replace(network, weights=f"{path}{BACKBONE if network.weights.endswith(BACKBONE) else ''}")


def local_path(network: Network, root: str) -> Path:
    """The local path of the file; it contains the hash, so that files of equal names don't collide.

    Raises UserError if the network has no valid `sha256`.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", network.sha256):
        raise UserError(f"{network.weights}: weights by URL need `sha256`, the file's 64 hexadecimal digits")
    name = network.weights.removesuffix(BACKBONE).partition("?")[0].rpartition("/")[2]
    return Path(root).expanduser() / "weights" / f"{network.sha256[:12].lower()}-{name}"


def download(network: Network, root: str, notify: Callable[[str], None] = lambda line: None) -> None:
    """Download the weights of a network with a URL, unless they exist; the file is written completely or not at all.

    Safe for concurrent calls: one process downloads, the others of its node wait for it.
    Raises UserError if it can't be downloaded or stored, or if its hash is not the recipe's.
    """
    if not is_remote(network) or (path := local_path(network, root)).is_file():
        return
    url = _url(network.weights.removesuffix(BACKBONE))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():
                notify(f"downloading {network.weights}")
                _fetch_checked(network, url, path)
    except OSError as error:
        raise UserError(f"data.root {root}: {error.strerror}: {error.filename}; choose another") from None


def _fetch_checked(network: Network, url: str, path: Path) -> None:
    atomic.clear(path.parent)  # what killed downloads left
    with atomic.replacing(path) as partial:
        digest = _fetch(url, partial)
        if digest != network.sha256.lower():
            raise UserError(f"{network.weights} has sha256 {digest}, not {network.sha256}: correct one of them")


def _fetch(url: str, path: Path) -> str:
    """Download a URL to a file; returns its SHA-256."""
    digest = hashlib.sha256()
    try:
        with open(path, "wb") as file:
            for part in _parts(url):
                digest.update(part)
                file.write(part)
    except OSError as error:  # those of requests as well
        raise UserError(
            f"{url} could not be downloaded ({message_of(error)}): check the URL and the connection"
        ) from error
    return digest.hexdigest()


def _parts(url: str) -> Iterator[bytes]:
    """The bytes of a URL's file."""
    if url.startswith("file://"):
        with open(url2pathname(urlparse(url).path), "rb") as file:
            while part := file.read(CHUNK):
                yield part
        return
    import requests

    with requests.get(url, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        yield from answer.iter_content(CHUNK)


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
