"""raykd export: the deployed network alone, as a file for other programs."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raykd import UserError
from raykd.commands.eval import open_finished
from raykd.recipe.load import parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    run: Annotated[str, tyro.conf.Positional]
    """Run directory."""
    to: Path
    """File to write: .safetensors (weights), .onnx or .pt2 (whole network; batch size free, images normalised)."""
    trust_source: bool = False
    """Run the recipe's source that the run directory holds, where it has a network of its own."""


def run(arguments: Sequence[str]) -> int:
    """Write the file; returns the exit status."""
    description = "Write the deployed network of a run, without anything of raykd's training code."
    chosen = parse(Options, Options(run=tyro.MISSING, to=tyro.MISSING), arguments, "raykd export", description)
    writers = {".safetensors": _safetensors, ".onnx": _onnx, ".pt2": _pt2}
    if chosen.to.suffix not in writers:
        raise UserError(f"--to {chosen.to}: the suffix must be one of {', '.join(writers)}")
    from raykd.storage.atomic import replacing
    from raykd.storage.folder import Folder

    if chosen.trust_source:
        open_finished(chosen.run, trust_source=True)
    with replacing(chosen.to) as temporary:
        said = writers[chosen.to.suffix](Folder(chosen.run), temporary)
    Terminal().print(f"{chosen.to}: {said}, {chosen.to.stat().st_size:,} bytes")
    return 0


def _safetensors(folder, path: Path) -> str:
    from raykd.runs.student import FILE, read_student

    read_student(folder)  # refuses a damaged file
    path.write_bytes(folder.read(FILE))
    return "weights under the network's own keys"


def _network(folder):
    """The plain network of a run, ready to export, and images to trace it with."""
    import torch

    from raykd.runs.student import read_student

    network, about = read_student(folder)
    images = torch.randn(2, 3, about.image_size, about.image_size, generator=torch.Generator().manual_seed(0))
    return network.model.eval(), images


def described(folder) -> dict[str, str]:
    """What a user of the file must know, as text by name: classes, preprocessing, and where the network came from."""
    from dataclasses import asdict

    from raykd.recipe.fingerprint import fingerprint
    from raykd.recipe.serial import to_dict
    from raykd.runs.recipe import recipe_of
    from raykd.runs.results import read_result
    from raykd.runs.student import FILE, about_of
    from raykd.storage.local_copy import local_copy, of_student

    about = asdict(about_of(local_copy(str(folder.place), of_student).path / FILE))
    recipe, result = recipe_of(folder), read_result(folder)
    known: dict[str, object] = {key: about[key] for key in ("network", "classes", "image_size", "mean", "std")}
    known["input"] = "float32 [N, 3, image_size, image_size], RGB scaled to [0, 1], then (x - mean) / std by channel"
    known["resize"] = [to_dict(step) for step in recipe.data.test]
    known["output"] = "logits [N, classes]"
    known["recipe"] = fingerprint(recipe)
    if result is not None:
        known |= {"top1": result.top1, "commit": result.git}
    return {f"raykd.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in known.items()}


def _pt2(folder, path: Path) -> str:
    import torch

    model, images = _network(folder)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    content = io.BytesIO()
    files = {"raykd.json": json.dumps(described(folder), indent=1)}
    torch.export.save(
        program, content, extra_files=files
    )  # to a file, torch says no more of a full disk than that it failed
    path.write_bytes(content.getvalue())
    return _checked(torch.export.load(path).module()(images), model(images))


def _onnx(folder, path: Path) -> str:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError:
        raise UserError(
            "ONNX needs the packages onnx, onnxscript and onnxruntime: pip install 'raykd[export]'"
        ) from None
    import torch

    model, images = _network(folder)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    options = {"input_names": ["images"], "output_names": ["logits"], "dynamo": True, "verbose": False}
    torch.onnx.export(model, (images,), path, dynamic_shapes=shapes, external_data=False, **options)
    whole = onnx.load(path)
    onnx.helper.set_model_props(whole, described(folder))
    onnx.save(whole, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    one_more = torch.cat([images, images[:1]])  # another batch size than the traced one
    (logits,) = session.run(None, {"images": one_more.numpy()})
    return _checked(torch.from_numpy(logits), model(one_more))


def _checked(exported, original) -> str:
    """Say how far an exported network is from the original; raises RuntimeError where it is another network."""
    difference = (exported - original).abs().max().item()
    if difference > 1e-3 * max(1.0, original.abs().max().item()):
        raise RuntimeError(f"the exported network's logits differ from the original's by {difference:.2e}")
    return f"logits within {difference:.0e} of the original's"
