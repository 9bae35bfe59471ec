"""The Python source of a new recipe, with the settings that are usually changed at its top."""

import dataclasses
import json
import re
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raykd import HOMES
from raykd.api.new.choices import Choices, is_run

TRAINED = """{variable} = Recipe(
    method=Supervised.Config(),
    student={network},
    data=DATA,
    epochs=EPOCHS,
    batch_size={batch_size},  # images per update; to save memory, halve it and use a learning rate of {half_rate:g}
    optimizer=AdamW(learning_rate={rate:g}, weight_decay=0.05, decay_vectors=False),
    schedule=Cosine(warmup_steps={warmup}),
{machine})
"""
MACHINE = """\
    # gpus_per_worker=1,  # with a GPU; with several GPUs also workers=2 or more
    # precision=Precision(autocast="bfloat16"),  # on a GPU from 2020 or later
"""
WITH_GPU = """\
    gpus_per_worker=1,  # workers=2 and more where there are several
    # precision=Precision(autocast="bfloat16"),  # on a GPU from 2020 or later
"""


def recipe_text(to: Path, choices: Choices) -> str:
    """The file's text."""
    body = "\n".join((_top(choices), _data(choices), _recipes(choices)))
    names = sorted({name for name in re.findall(r"\b[A-Z]\w+(?=\(|\.Config)", _code(body)) if name in HOMES})
    imports = ["from dataclasses import replace\n"] if "replace(" in body else []
    imported = textwrap.fill(", ".join(names), 110, initial_indent="    ", subsequent_indent="    ")
    imports.append(f"from raykd import (\n{imported},\n)\n")
    return "\n".join((_docstring(to, choices), *imports, body))


def _code(body: str) -> str:
    """The text without its comments."""
    return re.sub(r"#.*", "", body)


def _docstring(to: Path, choices: Choices) -> str:
    wanted, prepared = choices.wanted, choices.prepared
    teacher = f" from {wanted.teacher}" if wanted.teacher else ""
    lines = [
        f"{choices.method.cls.__name__}{teacher} to {wanted.student} on {Path(wanted.data).name or wanted.data}.",
        "",
        f"raykd train {shlex.quote(str(to))}",
        f"raykd train {shlex.quote(str(to))} --help     (every field; each can be changed on the command line)",
        "",
        textwrap.fill(choices.method.line, 110),
        f"Written for {prepared.train_size:,} training images of {len(prepared.classes)} classes; not measured.",
    ]
    if choices.method.module != "supervised":
        data = shlex.quote(wanted.data)
        alone = f"{to.stem}_alone.py --data {data} --student {wanted.student} --image-size {choices.image_size}"
        lines += ["", "The same student alone, to compare with:", "", f"raykd new {alone} --method supervised"]
    return "\n".join(('"""' + _in_docstring("\n".join(lines)), '"""', ""))


def _in_docstring(text: str) -> str:
    """Text escaped for a docstring: a folder's name can contain quotes, backslashes, and bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\\", "\\\\").replace('"""', '""\\"')


def _top(choices: Choices) -> str:
    weights = ', weights="pretrained"' if choices.wanted.pretrained else ""
    comment = "" if weights else '  # weights="pretrained" starts from its library\'s weights'
    lines = ["# Settings that are usually changed."]
    teacher = choices.wanted.teacher
    if teacher and is_run(teacher):
        lines.append(f"TEACHER = Run(path={_quoted(Path(teacher).resolve())})")
    elif teacher:
        lines.append(f"TEACHER = Network(name={_quoted(teacher)}{weights}){comment}")
    lines.append(f"STUDENT = Network(name={_quoted(choices.wanted.student)}{weights})")
    lines.append(f"EPOCHS = {choices.epochs}  # passes over the training images")
    return "\n".join((*lines, ""))


def _data(choices: Choices) -> str:
    prepared, size = choices.prepared, choices.image_size
    least, name = choices.smallest
    sides = f", {prepared.side_range} pixels a side" if prepared.sides else ""
    counts = f"{prepared.train_size:,} training and {prepared.test_size:,} test images, {len(prepared.classes)} classes"
    if choices.as_they_are:
        train, test = f"RandomCrop(padding={max(1, size // 8)}), Flip()", "()"
    else:
        train, test = "RandomResizedCrop(area=(0.35, 1.0)), Flip()", f"(Resize(size={-(-size * 8 // 7)}), CenterCrop())"
    numbers = [_numbers(values) for values in (prepared.mean, prepared.std) if values]
    measured = f"    mean={numbers[0]},  # measured on the training images\n    std={numbers[1]},\n" if numbers else ""
    return f"""# {counts}{sides};
# the smallest class, {name!r}, has {least:,} training images.
DATA = Data(
    source={_source(choices.source)},
    image_size={size},
{measured}    train=({train}),  # remove Flip() if left and right differ, as in text
    test={test},
)
"""


def _recipes(choices: Choices) -> str:
    wanted, method = choices.wanted, choices.method
    trained = wanted.teacher and not is_run(wanted.teacher)
    variable = "recipe" if method.module == "supervised" else "teacher" if trained else "alone"
    first = TRAINED.format(
        variable=variable,
        network="TEACHER" if trained else "STUDENT",
        batch_size=choices.batch_size,
        rate=choices.learning_rate,
        half_rate=float(f"{choices.learning_rate * 0.5**0.5:.1g}"),
        warmup=choices.warmup_steps,
        machine=WITH_GPU if has_gpu() else MACHINE,
    )
    if method.module == "supervised":
        return first
    parts = [f"method={method.cls.__name__}.Config()"]
    if trained:
        parts.append("student=STUDENT")
    if method.module == "funmatch":
        parts.append("data=replace(DATA, mixing=Mixup())")
    if method.config().initialises:
        optimizer = f"AdamW(learning_rate={choices.learning_rate:g})"
        parts.append(f"initialise=Initialise(epochs=EPOCHS / 4, optimizer={optimizer})")
    if trained:
        seeds = f", seeds={tuple(range(choices.teachers))}" if choices.teachers > 1 else ""
        parts.append(f"teachers=Teachers(sources=(Train(recipe=teacher{seeds}),))")
    elif wanted.teacher:
        parts.append("teachers=Teachers(sources=(TEACHER,))")
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{first}\nrecipe = replace(\n    {variable},\n{lines})\n"


def _source(source: Any) -> str:
    """The expression that creates a source, without fields at their defaults, and with an absolute path."""
    fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
    defaults = {f.name: f.default for f in dataclasses.fields(source)}
    changed = {name: value for name, value in fields.items() if value != defaults[name]}
    if "path" in changed:
        changed["path"] = str(Path(changed["path"]).expanduser().absolute())
    return f"{type(source).__name__}({', '.join(f'{name}={_quoted(value)}' for name, value in changed.items())})"


def _numbers(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.4f}' for value in values)})"


def _quoted(value: Any) -> str:
    if not isinstance(value, str | Path):
        return repr(value)
    text = json.dumps(str(value), ensure_ascii=False)
    return text if text.isprintable() else repr(str(value))


def has_gpu() -> bool:
    """Whether a GPU can be used here."""
    import torch

    return torch.cuda.is_available()
