"""CA-MKD's remaining paths against file 09: embeddings, weighted hints, pairs of rules, whole steps on networks."""

from collections.abc import Collection, Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import losses
from raykd.contract import Batch, Output
from raykd.methods.aekd import Agreement
from raykd.methods.base.multi_teacher import Features, MultiTeacher, Weighting, weighted_divergence
from raykd.methods.ca_mkd import Confidence, Embeddings, embedding
from raykd.methods.ebkd import Entropy
from raykd.methods.fitnet_mkd import AgreeingHints, Hints
from raykd.models.staged import Staged
from tests.golden_rules import fill_rule_b, images, stream_offset
from tests.methods import trajectories
from tests.support.golden import Arrays, Case, Row, cases, names, relative

ENSEMBLES = {"AVERAGE_LOSS": Weighting(), "EBKD": Entropy(), "CAMKD": Confidence()}
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")  # the family determines which of them exist


def embed_rows(case: Case) -> Iterator[Row]:
    """A single embedding: its output and gradients in training, its running statistics, its output afterwards."""
    x, probe = case("x"), case("probe").detach()
    hidden = x.shape[1] // int(case.hp("factor")) if case.hp("convs") else 0
    part = embedding(x.shape[1], probe.shape[1], hidden).double().train()
    put_parameters(part, case, "P.transfer.")
    trained = part(x)
    loss = (trained * probe).sum()
    loss.backward()
    yield Row("embedding", case.name, "train", relative(trained, case.out("embed", "train")))
    yield Row("embedding", case.name, "loss", relative(loss, case.out("embed", "loss")))
    yield Row("embedding", case.name, "d x", relative(x.grad, case.arrays[f"{case.name}/embed/grad/x"]))
    yield from gradient_rows("embedding", case, "embed", part, "P.transfer.")
    for name, buffer in part.named_buffers():
        if "running" in name:
            yield Row("embedding", case.name, name, relative(buffer, case.out("embed", f"after.transfer.{name}")))
    after = part.eval()(x)
    yield Row("embedding", case.name, "eval", relative(after, case.out("embed", "eval_after_train")))


def hint_rows(case: Case) -> Iterator[Row]:
    """Hints weighted by their gradients, and logits weighted by theirs; losses and gradients with exact weights."""
    for method in dict.fromkeys(key.split("/")[1] for key in case.arrays if key.startswith(f"{case.name}/AEKD_")):
        upper, normalize = case.hp("C", method), bool(case.hp("svm_norm", method))
        teachers, t, labels = stack(case), case.hp("T"), case("labels")
        maps = maps_of(case)
        term = AgreeingHints.build(AgreeingHints(tolerance=max(upper, 1 / len(maps))), *stand_ins(case, maps, "stage2"))
        term = term.double().train()
        put_parameters(term.regressors, case, "P.reg", {".norm.": ".bn."})
        hint, notes = term(case("feat_s"), maps, labels)
        weights = Agreement(tolerance=upper, normalize=normalize).weights(case("y_s"), teachers, labels, t)
        name = "hints weighed by gradients"
        for kind, ours in (("hint", notes["feature_weights"]), ("logit", weights.squeeze(1))):
            if float(case.arrays.get(f"{case.name}/{method}/out/qp_unique_{kind}", 0.0)):
                yield Row(
                    name, case.name, f"weights {kind}", relative(ours, case.out(method, f"scale_{kind}_exact_qp"))
                )
        if not method.endswith("_exact"):
            continue
        if not all(case.out(method, f"qp_unique_{kind}") for kind in ("hint", "logit")):
            continue  # the optimum is not unique, and each gives another loss
        values = step_values(case, weighted_divergence(case("y_s"), teachers, weights, t), hint)
        yield from compare(name, case, method, values)
        yield from gradient_rows(name, case, method, term.regressors, "P.reg", {".norm.": ".bn."})


def inter_rows(case: Case) -> Iterator[Row]:
    """The embeddings' term with every rule that weights the logits."""
    maps, teachers, t, labels = maps_of(case), stack(case), case.hp("T"), case("labels")
    if len({m.shape[2] for m in maps}) > 1:
        return  # the original resizes the map that it already resized for the previous teacher
    rule = Embeddings(convs=bool(case.hp("convs")), factor=int(case.hp("factor")) if case.hp("convs") else 2)
    for method in dict.fromkeys(key.split("/")[1] for key in case.arrays if key.startswith(f"{case.name}/inter_")):
        ensemble = method.removeprefix("inter_")
        if ensemble == "AEKD" or (ensemble == "AEKD_exact" and not case.out(method, "qp_unique_logit")):
            continue  # libsvm's weights, or those of any other optimum
        weighting = ENSEMBLES.get(ensemble) or Agreement(tolerance=case.hp("C", method))
        term = rule.build(*stand_ins(case, maps, "stage4")).double().train()
        put_parameters(term.embeddings, case, "P.embed", {".": ".transfer."})
        feature, _ = term(case("feat_s"), maps, labels)
        weights = weighting.weights(case("y_s"), teachers, labels, t)
        values = step_values(case, weighted_divergence(case("y_s"), teachers, weights, t), feature)
        yield from compare(f"embeddings with {ensemble}", case, method, values)
        if ensemble == "AVERAGE_LOSS":
            yield from gradient_rows("embeddings", case, method, term.embeddings, "P.embed", {".": ".transfer."})


def step_values(case: Case, divergence: Tensor, feature: Tensor) -> dict[str, Tensor]:
    ce = losses.cross_entropy(case("y_s"), case("labels"))
    loss = case.hp("gamma") * ce + case.hp("alpha") * divergence + case.hp("beta") * feature
    return {"loss": loss, "loss_cls": ce, "loss_div": divergence, "loss_kd": feature}


def compare(ours: str, case: Case, method: str, values: dict[str, Tensor]) -> Iterator[Row]:
    """The rows of `case.compare` except those of parameters, which belong to modules here: see `gradient_rows`."""
    yield from (row for row in case.compare(ours, method, values) if not row.what.startswith("d P."))


def maps_of(case: Case) -> list[Tensor]:
    return [case(f"feat_t{k}").detach() for k in range(int(case.hp("teacher_num")))]


def stack(case: Case) -> Tensor:
    return torch.stack([case(f"y_t{k}").detach() for k in range(int(case.hp("teacher_num")))])


def stand_ins(case: Case, maps: Sequence[Tensor], stage: str) -> tuple[SimpleNamespace, list[SimpleNamespace]]:
    """A student and teachers with only the shape of one map, and the teachers' heads."""

    def stand_in(feature_map: Tensor, k: int) -> SimpleNamespace:
        def run_from(start: str, x: Tensor, features: Collection[str]) -> Output:
            pooled = x.mean((2, 3)) if start == "pooled" else x
            logits = F.linear(pooled, case(f"fc{k}_W").detach(), case(f"fc{k}_b").detach())
            return Output(logits, {"pooled": pooled})

        width = feature_map.shape[1]
        shapes = {stage: tuple(feature_map.shape[1:]), "pooled": (width,)}
        about = {"name": "stand-in", "is_chain": True, "last_stage": stage, "parameters": lambda: iter([feature_map])}
        return SimpleNamespace(**about, shapes=shapes, width=lambda feature: width, run_from=run_from)

    return stand_in(case("feat_s"), -1), [stand_in(m, k) for k, m in enumerate(maps)]


def golden_name(name: str, prefix: str, renamed: dict[str, str]) -> str:
    """The authors' name of a parameter: of "0.conv.weight" with prefix "P.reg" it is "P.reg0.conv.weight"."""
    head, dot, rest = name.partition(".")
    for ours, theirs in renamed.items():
        rest = f".{rest}".replace(ours, theirs, 1).removeprefix(".") if ours != "." else f"{theirs.strip('.')}.{rest}"
    return f"{prefix}{head}{dot}{rest}"


@torch.no_grad()
def put_parameters(part: nn.Module, case: Case, prefix: str, renamed: dict[str, str] | None = None) -> None:
    for name, parameter in part.named_parameters():
        parameter.copy_(case(golden_name(name, prefix, renamed or {})))


def gradient_rows(
    ours: str, case: Case, method: str, part: nn.Module, prefix: str, renamed: dict[str, str] | None = None
) -> Iterator[Row]:
    """Gradients of the parameters of a part; of biases in front of a BN, which have none, golden holds rounding."""
    for name, parameter in part.named_parameters():
        theirs = golden_name(name, prefix, renamed or {})
        key = f"{case.name}/{method}/grad/{theirs}"
        if key in case.arrays:
            yield Row(ours, case.name, f"d {theirs}", relative(parameter.grad, case.arrays[key]))


def loss_rows(arrays: Arrays) -> Iterator[Row]:
    kinds = {"embed_": embed_rows, "hint_": hint_rows, "inter_": inter_rows}
    for case in cases(arrays):
        for start, rows in kinds.items():
            if case.name.startswith(start):
                yield from rows(case)


def net_cases(arrays: Arrays) -> list[str]:
    """Whole steps of the original, with exact weights for AEKD and with hints that are trained."""
    found = []
    for name in names(arrays):
        if not name.startswith("net_") or f"{name}/raises" in arrays or f"{name}/hp/ensemble" not in arrays:
            continue
        case = Case(arrays, name)
        exact = case.text("ensemble") != "AEKD" or case.text("mode") == "exact"
        families = {family.startswith("vgg") for family in case.text("teachers").split(",")}
        resized_twice = case.text("distill") == "inter" and len(families) > 1  # see `inter_rows`
        if exact and not resized_twice and name != "net_hint0_average":
            found.append(name)
    return found


def method_of(case: Case) -> MultiTeacher.Config:
    """The pair of rules of a whole step."""
    pre = ".pre" if case.hp("preact") else ""
    layer, beta = int(case.hp("hint_layer")), case.hp("beta")
    aekd = case.text("ensemble") == "AEKD"
    features: Features
    if case.text("distill") == "inter":
        convs, factor = bool(case.hp("convs")), int(case.hp("factor"))
        features = Embeddings(weight=beta, stage=f"last{pre}", convs=convs, factor=factor if convs else 2)
    else:
        stage = ("last" if layer == -2 else STAGES[layer]) + (pre if layer else "")
        features = AgreeingHints(weight=beta, stage=stage) if aekd else Hints(weight=beta, stage=stage)
    weighting = Agreement(tolerance=case.hp("C_bound")) if aekd else ENSEMBLES[case.text("ensemble")]
    return MultiTeacher.Config(
        gamma=case.hp("gamma"), alpha=case.hp("alpha"), temperature=case.hp("T"), logits=weighting, features=features
    )


def net_rows(arrays: Arrays, name: str) -> Iterator[Row]:
    """One whole step: parts of the loss, weights, gradients of every parameter, the network after the update."""
    case, offset = Case(arrays, name), stream_offset(arrays, name, "init")
    batch, config = int(case.hp("B")), method_of(Case(arrays, name))
    families = case.text("teachers").split(",")
    teachers = [trajectories.teacher(family, 90 + k, batch, True, offset) for k, family in enumerate(families)]
    distiller = config.build(trajectories.network(case.text("student")), teachers)
    fill_rule_b(distiller, lambda parameter: offset + trajectories.stream_of(parameter))
    distiller.train()
    data = Batch(images(batch, 32, stream=offset + 20), (7 * torch.arange(batch)) % 10, torch.arange(batch))
    with torch.no_grad():
        outputs = [
            t.output(data.images, wanted) for t, wanted in zip(teachers, distiller.teacher_features, strict=True)
        ]
        as_original(teachers, outputs)
    step = distiller(data, outputs, 1.0)
    loss = sum(step.terms.values())
    sgd = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loss.backward()
    parts = {"loss_cls": step.terms["ce"], "loss_div": step.terms["kd"], "loss": loss}
    parts["loss_kd"] = step.terms["feature"] / distiller.features.weight
    for part, value in parts.items():
        yield Row("whole step", name, part, relative(value, np.squeeze(arrays[f"{name}/out/{part}"])))
    if f"{name}/out/scale_hint" in arrays:
        weights = step.notes["feature_weights"]
        yield Row("whole step", name, "scale_hint", relative(weights, arrays[f"{name}/out/scale_hint"]))
    yield Row("whole step", name, "gradients", sums_apart([p.grad for p in distiller.parameters()], arrays, name))
    sgd.step()
    evaluated = distiller.eval().predict(images(batch, 32, stream=offset + 77))["student"]
    yield Row("whole step", name, "eval", relative(evaluated, arrays[f"{name}/eval/logits"]))


def as_original(teachers: Sequence[Staged], outputs: Sequence) -> None:
    """With maps before the activation, the original normalises a wide ResNet's last map a second time."""
    for teacher, output in zip(teachers, outputs, strict=True):
        if teacher.name.startswith("wrn") and f"{teacher.last_stage}.pre" in output.features:
            active = F.relu(output.features[f"{teacher.last_stage}.pre"])
            output.features[f"{teacher.last_stage}.pre"] = teacher.model.bn1(active)


def sums_apart(gradients: Sequence[Tensor], arrays: Arrays, name: str) -> float:
    """Differences of the sums and absolute sums of all gradients from golden, relative to each absolute sum."""
    golden = arrays[f"{name}/step0/param_grad_check"][:, 1:]
    ours = np.array([[g.sum().item(), g.abs().sum().item()] for g in gradients])
    return float((np.abs(ours - golden).max(1) / (golden[:, 1] + 1e-4 * golden[:, 1].max())).max())
