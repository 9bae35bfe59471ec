"""A picture of a page in a headless Chromium: python -m tests.documents.page PAGE.html FILE.png [WIDTH]

The picture ends below the last line that is not blank.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT = 8000  # pixels; longer pages are cut


def photograph(page: Path, file: Path, width: int) -> None:
    """Write a picture of a page to a PNG file."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    size = f"--window-size={width},{HEIGHT}"
    subprocess.run(["chromium", *options, size, f"--screenshot={file.resolve()}", page.resolve().as_uri()], check=True)
    image = Image.open(file).convert("RGB")
    pixels = np.asarray(image)
    used = np.flatnonzero((pixels != pixels[-1, 0]).any(axis=(1, 2)))
    image.crop((0, 0, width, min(HEIGHT, int(used[-1]) + 24))).quantize(128).save(file, optimize=True)


if __name__ == "__main__":
    photograph(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1200)
