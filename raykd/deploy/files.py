"""The deployed network as one file, .safetensors or .pt2, checked against the original network; for ONNX see `onnx`."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from raykd.deploy.deployed import Deployed
from raykd.deploy.samples import check_images
from raykd.storage.local_copy import STUDENT


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
        raise RuntimeError(f"{differing[0]} reads back with other values")
    return "weights under the network's own keys"


def write_pt2(deployed: Deployed, path: Path) -> str:
    """Write the whole network by torch.export for any batch size, with a description in its extra file raykd.json."""
    images, which = check_images(deployed.data)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(deployed.model, (images[:2],), dynamic_shapes=shapes)
    content = io.BytesIO()  # when writing a file, torch doesn't report a full disk as such
    files = {"raykd.json": json.dumps(deployed.described(), indent=1)}
    torch.export.save(program, content, extra_files=files)
    path.write_bytes(content.getvalue())
    return compared(torch.export.load(path).module(), deployed, images, which)


@torch.inference_mode()
def compared(exported: Callable[[Tensor], Tensor], deployed: Deployed, images: Tensor, which: str) -> str:
    """The difference of an exported network from the original, as text; raises RuntimeError if it is too large."""
    logits, exported_logits = deployed.model(images), exported(images)
    difference = (exported_logits - logits).abs().max().item()
    if not difference <= 1e-3 * max(1.0, logits.abs().max().item()):
        raise RuntimeError(f"the exported network's logits differ from the original's by {difference:.2e}")
    return f"logits within {difference:.0e} of the original's on {which}"
