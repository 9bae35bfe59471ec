"""The deployed network as one file, .safetensors or .pt2, checked against the original network; for ONNX see `onnx`."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from raykd import UserError
from raykd.deploy.deployed import Deployed
from raykd.deploy.samples import check_images
from raykd.output import one_line
from raykd.storage.local_copy import STUDENT


class DiffersError(RuntimeError):
    """The written network's outputs are not those of the original."""


def write_safetensors(deployed: Deployed, path: Path) -> str:
    """Write the weights under the network's own keys, with a description in the header."""
    tensors = safetensors.torch.load(deployed.run.read(STUDENT))
    # "raykd" makes the file one that `raykd.runs.student.about_of` reads, as a teacher's or a start's weights.
    metadata = {"raykd": deployed.about.text()} | deployed.described()
    path.write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    differing = [
        key for key, tensor in safetensors.torch.load_file(path).items() if not torch.equal(tensor, tensors[key])
    ]
    if differing:
        raise DiffersError(f"{differing[0]} reads back with other values")
    return "weights under the network's own keys"


def write_pt2(deployed: Deployed, path: Path) -> str:
    """Write the whole network by torch.export for any batch size, with a description in its extra file raykd.json."""
    images, which = check_images(deployed.data)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    content = io.BytesIO()  # when writing a file, torch doesn't report a full disk as such
    files = {"raykd.json": json.dumps(deployed.described(), indent=1)}
    with exporting(deployed.about.network, ".pt2"):
        program = torch.export.export(deployed.model, (two_of(images),), dynamic_shapes=shapes)
        torch.export.save(program, content, extra_files=files)
    path.write_bytes(content.getvalue())
    return compared(torch.export.load(path).module(), deployed, images, which)


def two_of(images: Tensor) -> Tensor:
    """Two images for tracing, which would take a single one for the only number that there can be."""
    return images[:2] if len(images) > 1 else images.repeat(2, 1, 1, 1)


@contextmanager
def exporting(network: str, form: str) -> Iterator[None]:
    """Context of an exporter: what it can't do with the user's network becomes a UserError of one line."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  of the exporter, or of the network's own code
        raise UserError(
            f"{network} can't be exported as {form} ({reason_of(error)}): change its forward, or export "
            "its weights as .safetensors"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def reason_of(error: BaseException) -> str:
    """The first line of the error that an exporter's own error was raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = one_line(str(error).strip().partition("\n")[0])[:200]
    return f"{type(error).__name__}: {lines}" if lines else type(error).__name__


@torch.inference_mode()
def compared(exported: Callable[[Tensor], Tensor], deployed: Deployed, images: Tensor, which: str) -> str:
    """The difference of an exported network from the original, as text; raises DiffersError if it is too large."""
    logits, exported_logits = deployed.model(images), exported(images)
    difference = (exported_logits - logits).abs().max().item()
    if not difference <= 1e-3 * max(1.0, logits.abs().max().item()):
        raise DiffersError(f"the exported network's logits differ from the original's by {difference:.2e}")
    return f"logits within {difference:.0e} of the original's on {which}"
