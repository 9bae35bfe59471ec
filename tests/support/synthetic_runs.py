"""Run directories in raykd's format with synthetic results for tests."""

import json

import numpy as np

CLASSES = 10
BINS = 15


def new_recipe(method="KD", seed=0, mode="auto", **fields):
    """A recipe's plain form, as recipe.json has it."""
    return {
        "class": "raykd.recipe:Recipe",
        "method": {"class": f"raykd.methods.{method.lower()}:{method}.Config", "temperature": 4.0},
        "student": {"class": "raykd.models.config:Network", "name": "resnet8x4", "weights": ""},
        "data": {
            "class": "raykd.data.config:Data",
            "source": {"class": "raykd.data.sources.digits:Digits"},
            "image_size": 32,
            "root": "~",
            "loader": "ffcv",
        },
        "teachers": {"class": "raykd.recipe:Teachers", "sources": [], "max_parallel": 0},
        "epochs": 4,
        "batch_size": 64,
        "seed": seed,
        "workers": 2,
        "cpus_per_worker": 1,
        "gpus_per_worker": 0,
        "wandb": {"mode": mode, "project": "raykd", "entity": "", "group": "", "tags": []},
        "published": [],
        **fields,
    }


def write_run(
    root,
    recipe,
    name,
    /,
    *,
    epochs=4,
    top1=0.9,
    status="finished",
    teachers=("teacher",),
    networks=("student",),
    **result,
):
    """One run directory; figures are drawn from its seed around `top1`."""
    folder = root / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng([recipe["seed"], int(1e6 * top1), len(name)])
    lines = []
    for epoch in range(1, epochs + 1):
        level = top1 * (1 - 0.5 ** (epoch + 1)) if epoch < epochs else top1
        evaluation = {n: figures(rng, level - 0.02 * i, teachers) for i, n in enumerate(networks)}
        line = {
            "epoch": float(epoch),
            "step": 21 * epoch,
            "seconds": 3.0,
            "images_per_second": 800.0 + 10 * rng.random(),
        }
        line |= {"learning_rate": 0.05, "gradient_norm": 1.3, "loss": float(1.5 / epoch), "memory": 10**8}
        line |= {"terms": {"ce": 0.5 / epoch, "kl": 1.0 / epoch}, "measures": {"diversity": 0.1 * epoch}}
        weights = [0.2 + 0.1 * epoch, 0.8 - 0.1 * epoch]
        line |= {"notes": {"weight": 0.1 * epoch, "teacher_weights": weights} if teachers else {}}
        lines.append({**line, "evaluation": evaluation})
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if status == "unfinished":
        return folder
    last = lines[-1]["evaluation"]
    (folder / "evaluation.json").write_text(json.dumps(evaluation_file(rng, last, teachers)))
    deployed = last[networks[0]]
    values = {
        "name": name,
        "method": "KD",
        "status": status,
        "epochs": epochs,
        "seed": recipe["seed"],
        "workers": 2,
        "restarts": 0,
    }
    values |= {"top1": deployed["top1"], "top1_best": max(line["evaluation"][networks[0]]["top1"] for line in lines)}
    values |= {"top5": deployed["top5"], "loss": deployed["loss"], "networks": {}, "seconds": 10.0 + rng.random()}
    values |= {"images_per_second": 800 + 50 * rng.random(), "parameters": 78_000, "git": "", "wandb_url": "", **result}
    (folder / "result.json").write_text(json.dumps(values))
    return folder


def figures(rng, level, teachers):
    top1 = float(np.clip(level + 0.01 * rng.standard_normal(), 0, 1))
    agreement = {t: {"top1": float(0.9 + 0.05 * rng.random()), "kl": float(0.2 + 0.1 * rng.random())} for t in teachers}
    top5 = min(1.0, top1 + 0.05)
    return {"top1": top1, "top5": top5, "loss": 1.2 - top1, "ece": 0.02 + 0.02 * rng.random(), "agreement": agreement}


def evaluation_file(rng, last, teachers):
    networks = {}
    for name, figures_of in last.items():
        per_class = np.clip(figures_of["top1"] + 0.03 * rng.standard_normal(CLASSES), 0, 1)
        confidence = (np.arange(BINS) + 0.5) / BINS
        count = rng.integers(0, 60, BINS)
        count[:3] = 0
        calibration = [
            [int(n), float(c), float(np.clip(c - 0.05, 0, 1))] for n, c in zip(count, confidence, strict=True)
        ]
        networks[name] = {
            **figures_of,
            "per_class": per_class.tolist(),
            "per_class_count": [45] * CLASSES,
            "calibration": calibration,
        }
    known = {
        t: {"top1": 0.97 + 0.002 * i, "top5": 1.0, "loss": 0.1, "ece": 0.01, "parameters": 500_000}
        for i, t in enumerate(teachers)
    }
    names = [f"digit {i}" for i in range(CLASSES)]
    return {"split": "test", "class_names": names, "networks": networks, "teachers": known, "flops": 12_000_000}


def write_search(root, name="search", trials=24):
    folder = root / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    place = {"entity": "", "project": "raykd", "group": name}
    about = {"name": name, "metric": "top1", "mode": "max", "space": {}, "best": "t3", "wandb": place}
    (folder / "search.json").write_text(json.dumps(about))
    rows = ["trial,state,metric,seconds,reason,method.temperature,method.alpha,optimizer.learning_rate,schedule"]
    for i in range(trials):
        temperature, alpha, rate = rng.uniform(1, 8), rng.uniform(0, 1), 10 ** rng.uniform(-3, 0)
        kind = ["cosine", "steps"][i % 2]
        score = 0.9 - 0.01 * (temperature - 4) ** 2 + 0.002 * rng.standard_normal()
        rows.append(
            f"t{i},finished,{score:.5f},{rng.uniform(5, 9):.1f},,{temperature:.4f},{alpha:.4f},{rate:.6f},{kind}"
        )
    rows.append("t98,failed,,1.0,loss is not finite,9.0,0.1,0.9,steps")
    (folder / "trials.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_study(root, rows, columns, seeds=3, epochs=24, missing=(), published=(), baseline=None):
    """A study of KD with a temperature for each row and a network for each column; later rows are better."""
    cells = []
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            for seed in range(seeds):
                cell = {"row": row, "column": column, "seed": seed, "run": f"{r}/{c}/{seed}", "status": "finished"}
                if (row, column, seed) in missing:
                    cells.append(cell | {"status": "failed", "reason": "loss is not finite"})
                    continue
                cells.append(cell)
                recipe = new_recipe("KD", seed, epochs=epochs)
                recipe["method"] = recipe["method"] | {"temperature": 1.0 + r}
                recipe["student"] = recipe["student"] | {"name": column.rpartition(" ")[2]}
                write_run(
                    root, recipe, cell["run"], epochs=epochs, top1=0.6 + 0.008 * r + 0.02 * c, seconds=1000 + 90 * r
                )
    about = {"name": "a study", "rows": list(rows), "columns": list(columns), "cells": cells}
    about |= {"baseline": rows[0] if baseline is None else baseline, "published": list(published)}
    (root / "study.json").write_text(json.dumps(about))
    return root
