"""OKDDip's wrappers against files 05, 10 and 13: networks of branches, the cross-entropy as the loss, five steps."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raykd import losses
from raykd.contract import Batch, Step
from raykd.methods import cl_ilr, okddip, one
from raykd.methods.base.peers import PeerDistiller, peer_divergence, stack_logits
from raykd.methods.cl_ilr import CLILR
from raykd.methods.individual import Individual
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE, gated_ensemble
from raykd.models import create
from tests.golden_rules import fill_rule_b, images, stream_offset
from tests.methods.golden import branches_of, last_first
from tests.methods.trajectories import stream_of
from tests.support.golden import Arrays, Case, Row, cases, names, relative

NETWORKS = {"resnet110": "okddip_resnet110", "vgg16": "okddip_vgg16", "vgg19": "okddip_vgg19"}
METHODS = {"GL": OKDDip, "one": ONE, "clilr": CLILR, "ind": Individual}
WRAPPER = re.compile(r"(GL|one|clilr|ind)_(\w+?)_c(\d+)_m(\d+)(?:_drop0)?$")


class AuthorsDenseNet(OKDDip):
    """OKDDip as in its authors' DenseNets: all m branches are averaged and attended to, but only m − 1 learn from that;
    the leader runs the shared block once more and uses the last branch's classifier, without its norm."""

    def forward(self, batch: Batch, teachers: object, epoch: float) -> Step:
        c = self.config
        peers, targets, leader = self.seen(batch.images)
        taught, weight = peers[:-1], c.weight(epoch)
        terms = okddip.okddip_loss(taught, targets[:-1], None, batch.labels, c.temperature, weight, c.loss)
        kd = weight * peer_divergence(leader.unsqueeze(0), peers.mean(0, keepdim=True), c.temperature, c.loss)
        return Step(terms | {"leader_ce": losses.cross_entropy(leader, batch.labels), "leader_kd": kd}, {})

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [m, B, C], targets [m, B, C], and the leader's logits [B, C]."""
        trunk = self.branches[0].trunk(x, self.start)
        outputs = self.outputs_from(trunk, ("pooled",))
        logits = stack_logits(outputs)
        targets = okddip.peer_targets(logits, *self._project(torch.stack([o.features["pooled"] for o in outputs])))
        last = self.branches[-1].model
        block = last.features.denseblock3(trunk)
        return logits, targets, last.classifier(block.mean((2, 3)))


class AuthorsVGG(ONE):
    """ONE as in its authors' VGGs: every branch runs twice, so its running statistics are updated twice."""

    def _gated(self, images: Tensor) -> tuple[Tensor, Tensor]:
        trunk = self.branches[0].trunk(images, self.start)
        self.outputs_from(trunk)
        return stack_logits(self.outputs_from(trunk)), self.gate(trunk)


def wrapper_cases(arrays: Arrays) -> list[str]:
    return [name for name in names(arrays) if WRAPPER.match(name)]


def build_wrapper(name: str, size: int) -> PeerDistiller:
    kind, network, classes, branches = WRAPPER.match(name).groups()
    method, dense = METHODS[kind], network.startswith("densenet")
    config = method.Config(branches=int(branches), share_block=dense)
    made = config.build(lambda: create(NETWORKS.get(network, network), int(classes), size), [])
    if dense and kind == "GL":
        made.__class__ = AuthorsDenseNet
    if network.startswith("vgg") and kind == "one":
        made.__class__ = AuthorsVGG
    return made


def seen(made: PeerDistiller, x: Tensor) -> dict[str, Tensor]:
    """A wrapper's outputs by golden's names; see files 05 and 13."""
    if isinstance(made, AuthorsDenseNet):
        peers, targets, leader = made.seen(x)
        return {"pro": peers.permute(1, 2, 0), "x_m": targets.permute(1, 2, 0), "x_stu": leader}
    if isinstance(made, ONE):
        logits, gates = made._gated(x)
        return {"pro": logits.permute(1, 2, 0), "x_m": gated_ensemble(logits, gates)}
    outputs = made.outputs(x, ("pooled",))
    logits = stack_logits(outputs)
    if isinstance(made, OKDDip):
        queries, keys = made._project(torch.stack([output.features["pooled"] for output in outputs[:-1]]))
        targets = okddip.peer_targets(logits[:-1], queries, keys)
        return {"pro": logits[:-1].permute(1, 2, 0), "x_m": targets.permute(1, 2, 0), "x_stu": logits[-1]}
    means = cl_ilr.mean_of_others(logits)
    return {"pro": logits.permute(1, 2, 0), "x_m": means.permute(1, 2, 0)}


def wrapper_rows(arrays: Arrays, name: str) -> Iterator[Row]:
    """A network of branches: parameters, outputs in evaluation and training, gradients, statistics afterwards."""
    golden = {key.removeprefix(f"{name}/"): x for key, x in arrays.items() if key.startswith(f"{name}/")}
    made, offset = build_wrapper(name, int(golden["hp/H"])), stream_offset(arrays, name)
    fill_rule_b(made, lambda parameter: offset + stream_of(parameter))
    parameters = list(made.parameters())
    yield Row("branches", name, "parameters", sorted_sums_apart(parameters, golden["B/param_check"]))
    x = images(int(golden["hp/B"]), int(golden["hp/H"]), offset + 7)
    for phase in ("B_eval", "B_train", "B_eval_after_train"):
        made.train(phase == "B_train")
        found = seen(made, x)
        for key, value in found.items():
            if f"{phase}/{key}" in golden:
                yield Row("branches", name, f"{phase} {key}", relative(value, golden[f"{phase}/{key}"]))
        if phase == "B_train":
            yield from gradient_rows(made, found, name, golden)


def gradient_rows(made: PeerDistiller, found: Mapping[str, Tensor], name: str, golden: Arrays) -> Iterator[Row]:
    running = [buffer for key, buffer in made.named_buffers() if "running" in key]
    yield Row("branches", name, "statistics", sorted_sums_apart(running, golden["B_train/buffers_after_check"]))
    if isinstance(made, CLILR):
        return  # the probe's gradient into the trunk is divided here in `forward`, there in the network
    outputs = [found[key] for key in ("pro", "x_m", "x_stu") if f"B_train/{key}" in golden]
    sum((o.flatten() * torch.cos(0.7 * torch.arange(o.numel(), dtype=torch.float64))).sum() for o in outputs).backward()
    check = golden["B_train/param_grad_check"]
    used = [p.grad if p.grad is not None else torch.zeros_like(p) for p in made.parameters()]
    yield Row("branches", name, "gradients", sorted_sums_apart(used, check[:, 1:]))


def sorted_sums_apart(tensors: list[Tensor], golden: np.ndarray) -> float:
    """Differences of tensors' absolute sums from golden's, both sorted: the authors register them in another order."""
    ours = np.sort([x.abs().sum().item() for x in tensors])
    theirs = np.sort(golden[:, 1])
    if len(ours) != len(theirs):
        return float("inf")
    return float((np.abs(ours - theirs) / np.maximum(theirs, 1e-6 * theirs.max())).max())


def cross_entropy_rows(arrays: Arrays) -> Iterator[Row]:
    """The losses of file 10, whose divergence is the cross-entropy, and its ramp-ups."""
    for case in cases(arrays):
        if case.has("rampup/"):
            yield from rampup_rows(case)
        elif case.has("gl_ce/"):
            yield from gl_rows(case)
        elif case.has("kd_ce/"):
            yield from kd_rows(case)
        elif case.has("clilr_ce/"):
            yield from branch_rows(case)


def rampup_rows(case: Case) -> Iterator[Row]:
    epochs, length = int(case.hp("num_epochs")), case.hp("length")
    start = case.hp("start_consistency") * epochs
    ours = torch.tensor([losses.ramp_up(e, length, start) for e in range(epochs)], dtype=torch.float64)
    yield Row("ramp_up", case.name, "weights", relative(ours, case.out("rampup", "weights")))


def gl_rows(case: Case) -> Iterator[Row]:
    peers, features = last_first(case("logits")), last_first(case("feats"))
    targets = okddip.peer_targets(peers, features @ case("Wq").t(), features @ case("Wk").t())
    weight, t = case.hp("alpha") * case.hp("consistency_weight"), case.hp("T")
    terms = okddip.okddip_loss(peers, targets, case("leader"), case("labels"), t, weight, "cross-entropy")
    values = {
        "loss": sum(terms.values()),
        "loss_true": terms["ce"],
        "leader_ce": terms["leader_ce"],
        "loss_group": terms["kd"] / weight,
        "leader_kd": terms["leader_kd"] / weight,
        "x_m": targets.permute(1, 2, 0),
    }
    yield from case.compare("okddip, cross-entropy", "gl_ce", values)


def kd_rows(case: Case) -> Iterator[Row]:
    ce = losses.cross_entropy(case("y_s"), case("labels"))
    soft = losses.soft_cross_entropy(case("y_s"), case("y_t").detach(), case.hp("T"))
    values = {"loss": ce + case.hp("alpha") * soft, "loss_true": ce, "loss_teacher": soft}
    yield from case.compare("kd, cross-entropy", "kd_ce", values)


def branch_rows(case: Case) -> Iterator[Row]:
    weight, labels, t = case.hp("alpha") * case.hp("consistency_weight"), case("labels"), case.hp("T")
    if len(labels) > 1:  # a gate's BatchNorm can't take one sample
        pooled = F.linear(case("x").mean((2, 3)), case("gate_W"), case("gate_b"))
        normed = F.batch_norm(pooled, None, None, case("gate_bn_w"), case("gate_bn_b"), training=True)
        gates, branches = F.softmax(F.relu(normed), dim=1), branches_of(case, case("x"))
        terms = one.one_loss(branches, gates, labels, t, weight, "cross-entropy")
        values = {"loss": sum(terms.values()), "loss_true": terms["ce"] + terms["ensemble_ce"]}
        values |= {"loss_group": terms["kd"] / weight, "x_m": one.gated_ensemble(branches, gates)}
        yield from case.compare("one, cross-entropy", "one_ce", values)
    shared = cl_ilr.scale_gradient(case("x"), 1 / len(case("W")))
    terms = cl_ilr.cl_ilr_loss(branches_of(case, shared), labels, t, weight, "cross-entropy")
    values = {"loss": sum(terms.values()), "loss_true": terms["ce"], "loss_group": terms["kd"] / weight}
    yield from case.compare("cl_ilr, cross-entropy", "clilr_ce", values)


def run_cases(arrays: Arrays) -> list[str]:
    return [name for name in names(arrays) if f"{name}/step/pro" in arrays]


def build_run(case: Case) -> PeerDistiller:
    """The distiller of a five-step run, from its name and hyper-parameters."""
    method, _, rest = case.name.replace("cl_ilr", "clilr").partition("_")
    network = {"densenet": "densenetd40k12", "wrn": "wide_resnet20_8", "vgg16": "okddip_vgg16"}
    network = network.get(rest.split("_")[0], "resnet32")
    common = {"branches": int(case.hp("num_branches")), "share_block": network.startswith("densenet")}
    if method != "individual":
        common |= {
            "temperature": case.hp("T"),
            "alpha": case.hp("alpha"),
            "loss": "cross-entropy" if case.text("loss") == "CE" else "kl",
            "ramp_up_start": case.hp("start_consistency") * case.hp("num_epochs"),
            "ramp_up_epochs": case.hp("consistency_length"),
        }
    kind = {"okddip": OKDDip, "one": ONE, "clilr": CLILR, "individual": Individual}[method]
    made = kind.Config(**common).build(lambda: create(network, int(case.hp("C")), 32), [])
    if method == "okddip" and common["share_block"]:
        made.__class__ = AuthorsDenseNet
    return made


def run_rows(arrays: Arrays, name: str) -> Iterator[Row]:
    """Five SGD steps: every part of the loss before each, and all logits after the last."""
    case, offset = Case(arrays, name), stream_offset(arrays, name, "init")
    made, batch = build_run(case), int(case.hp("B"))
    fill_rule_b(made, lambda parameter: offset + stream_of(parameter))
    sgd = torch.optim.SGD(made.train().parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    weights = arrays[f"{name}/hp/consistency_weight"]
    for k, epoch in enumerate(arrays[f"{name}/hp/consistency_epoch"].tolist()):
        labels = (7 * torch.arange(batch) + 3 * k) % int(case.hp("C"))
        terms = made(Batch(images(batch, 32, offset + 20 + k), labels, torch.arange(batch)), [], float(epoch)).terms
        loss = sum(terms.values())
        yield Row(name, f"step {k}", "loss", relative(loss, arrays[f"{name}/loss/loss"][k]))
        weight = case.hp("alpha") * float(weights[k])
        parts = {"loss_true": terms["ce"] + terms.get("ensemble_ce", 0.0)}
        parts |= {"leader_ce": terms["leader_ce"]} if "leader_ce" in terms else {}
        parts |= {
            theirs: terms[o] / weight for theirs, o in (("loss_group", "kd"), ("leader_kd", "leader_kd")) if o in terms
        }
        for part, value in parts.items():
            yield Row(name, f"step {k}", part, relative(value, arrays[f"{name}/loss/{part}"][k]))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    made.eval()
    with torch.no_grad():
        found = seen(made, images(batch, 32, offset + 77))
    for key, value in found.items():
        if f"{name}/eval/{key}" in arrays:
            yield Row(name, "after", f"eval {key}", relative(value, arrays[f"{name}/eval/{key}"]))
