"""The deployed network as a folder, as the Hugging Face hub holds models: weights, configuration, model card.

timm loads the folder of one of its own networks: `timm.create_model("local-dir:DIR", pretrained=True)`.
"""

import json
import math
from pathlib import Path
from typing import Any

from raykd.data.augment.pipeline import evaluation
from raykd.data.config import Data
from raykd.deploy.card import model_card
from raykd.deploy.deployed import Deployed
from raykd.deploy.files import compared, write_safetensors
from raykd.deploy.samples import check_images
from raykd.storage.atomic import filling

WEIGHTS = "model.safetensors"


def write_folder(deployed: Deployed, path: Path) -> str:
    """Write a new or empty folder; raises UserError for any other."""
    library = "timm" if deployed.about.network.startswith("timm:") else "raykd"
    card = model_card(deployed, path.name, library)
    with filling(path) as temporary:
        write_safetensors(deployed, temporary / WEIGHTS)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if library == "timm":
            return _as_timm(deployed, temporary)
        (temporary / "raykd.json").write_text(json.dumps(deployed.described(), indent=1), encoding="utf-8")
    return f"{WEIGHTS}, README.md, raykd.json"


def _as_timm(deployed: Deployed, folder: Path) -> str:
    """Write config.json, then load the folder by timm and compare the network with the original."""
    import timm
    from timm.models._hub import save_config_for_hf  # what timm.models.push_to_hf_hub writes

    names = {"label_names": list(deployed.about.classes)}
    config = folder / "config.json"
    save_config_for_hf(deployed.model, config, model_config=names, data_config=timm_data(deployed.data))
    written = json.loads(config.read_text(encoding="utf-8"))
    for of_timms_own in ("tag", "license"):  # they describe the weights that timm publishes, not these
        written["pretrained_cfg"].pop(of_timms_own, None)
    config.write_text(json.dumps(written, indent=2), encoding="utf-8")
    images, which = check_images(deployed.data)
    again = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return f"{WEIGHTS}, README.md, config.json for timm: {compared(again, deployed, images, which)}"


def timm_data(data: Data) -> dict[str, Any]:
    """The evaluation's preprocessing as timm's settings; timm resizes where the evaluation accepts one size only."""
    geometry, size = evaluation(data).geometry, data.image_size
    resized = geometry.resize.size if geometry.resize else size
    share = size / resized
    if math.floor(size / share) != resized:  # as timm finds the size from the share
        share = size / (resized + 0.5)
    squash = geometry.resize is not None and not geometry.resize.keep_aspect and geometry.crop is None
    return {
        "input_size": (3, size, size),
        "interpolation": "bilinear",
        "crop_pct": share,
        "crop_mode": "squash" if squash else "center",
        "mean": data.mean,
        "std": data.std,
    }
