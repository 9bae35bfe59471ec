"""Compares the pure losses with golden numbers: yields each loss's and gradient's distance from the authors' numbers.

`rows(load)` takes a function from a file's name ("03_one") to its arrays, by key: see tests/support/golden.py.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raykd import losses
from raykd.methods import aekd, ca_mkd, cl_ilr, dkd, dml, ebkd, fitnet_mkd, funmatch, kd, okddip, one, teskd
from raykd.methods.base import min_norm
from raykd.methods.base.maps import resize
from raykd.methods.base.multi_teacher import Weighting, weighted_divergence
from raykd.methods.base.peers import peer_cross_entropy
from tests.support.golden import Case, Load, Row, cases, relative

# Golden's name of a divergence → its part of a row's name, and raykd's own divergence.
KINDS = {"KL": (" (+1e-7)", "kl"), "CE": (", cross-entropy", "cross-entropy")}


def last_first(x: Tensor) -> Tensor:
    """[B, C, m] → [m, B, C]."""
    return x.permute(2, 0, 1)


def kd_rows(load: Load) -> Iterator[Row]:
    for case in cases(load("01_logit_losses")):
        t, labels = case.hp("T"), case("labels")
        loss = losses.kl_divergence(case("y_s"), case("y_t"), t)
        each = losses.kl_divergence(case("y_s"), case("y_t"), t, reduction="none")
        yield from case.compare("kd (clean KL)", "camkd.DistillKL", {"loss": loss, "per_sample": each})
        ce = losses.cross_entropy(case("y_s"), labels)
        loss = ce + case.hp("alpha") * kd.kd_loss(case("y_s"), case("y_t").detach(), t).mean()
        yield from case.compare("kd (+1e-7)", "okddip.train_kd", {"loss": loss, "loss_true": ce})


def okddip_rows(load: Load) -> Iterator[Row]:
    for case in cases(load("02_okddip_gl")):
        if not case.has("gl/"):
            continue
        name, loss = KINDS[case.text("loss")]
        peers, features = last_first(case("logits")), last_first(case("feats"))
        targets = okddip.peer_targets(peers, features @ case("Wq").t(), features @ case("Wk").t())
        weight = case.hp("alpha") * case.hp("consistency_weight")
        terms = okddip.okddip_loss(peers, targets, case("leader"), case("labels"), case.hp("T"), weight, loss)
        values = {
            "loss": sum(terms.values()),
            "loss_true": terms["ce"],
            "loss_leader_ce": terms["leader_ce"],
            "loss_group": terms["kd"] / weight,
            "loss_leader_kd": terms["leader_kd"] / weight,
            "x_m": targets.permute(1, 2, 0),
        }
        yield from case.compare(f"okddip{name}", "gl", values)
    for case in cases(load("02_okddip_evaluate")):
        batches = [case.arrays[f"{case.name}/in/b{b}_output"] for b in (0, 1)]
        peers = last_first(torch.from_numpy(np.concatenate(batches)))
        golden = case.out("evaluate_GL", "dist")
        if peers.shape[0] == 3:  # the original divides by 3 whatever the number of pairs
            yield Row(
                "okddip diversity (+1e-6)", case.name, "dist", relative(okddip.diversity(peers), golden, floor=1.0)
            )
    for case in cases(load("02_okddip_rampup")):
        if case.has("rampup/") and case.hp("start_consistency") == 0:
            length, epochs = case.hp("length"), int(case.hp("num_epochs"))
            ours = torch.tensor([losses.ramp_up(e, length) for e in range(epochs)], dtype=torch.float64)
            yield Row("ramp_up", case.name, "weights", relative(ours, case.out("rampup", "weights")))


def branches_of(case: Case, x: Tensor) -> Tensor:
    pooled = x.mean((2, 3))
    return torch.einsum("bf,mcf->mbc", pooled, case("W")) + case("b").unsqueeze(1)


def branch_rows(load: Load) -> Iterator[Row]:
    for case in cases(load("03_clilr")):
        weight = case.hp("alpha") * case.hp("consistency_weight")
        shared = cl_ilr.scale_gradient(case("x"), 1 / len(case("W")))
        terms = cl_ilr.cl_ilr_loss(branches_of(case, shared), case("labels"), case.hp("T"), weight)
        values = {"loss": sum(terms.values()), "loss_true": terms["ce"], "loss_group": terms["kd"] / weight}
        yield from case.compare("cl_ilr (+1e-7)", "clilr", values)
    for case in cases(load("03_ind")):
        yield from case.compare(
            "individual", "ind", {"loss": peer_cross_entropy(branches_of(case, case("x")), case("labels"))}
        )
    for case in cases(load("03_one")):
        weight = case.hp("alpha") * case.hp("consistency_weight")
        pooled = F.linear(case("x").mean((2, 3)), case("gate_W"), case("gate_b"))
        normed = F.batch_norm(pooled, None, None, case("gate_bn_w"), case("gate_bn_b"), training=True)
        gates, branches = F.softmax(F.relu(normed), dim=1), branches_of(case, case("x"))
        terms = one.one_loss(branches, gates, case("labels"), case.hp("T"), weight)
        values = {
            "loss": sum(terms.values()),
            "loss_true": terms["ce"] + terms["ensemble_ce"],
            "loss_group": terms["kd"] / weight,
            "x_m": one.gated_ensemble(branches, gates),
        }
        yield from case.compare("one (+1e-7)", "one", values)
    for case in cases(load("03_dml")):
        for method, (kind, (name, loss)) in product(("pairwise", "ensemble_first"), KINDS.items()):
            if not case.has(f"{method}_{kind}/"):
                continue
            first = method == "ensemble_first"
            terms = dml.dml_loss(last_first(case("logits")), case("labels"), case.hp("T"), first, loss)
            values = {"loss": sum(terms.values()), "loss_ce": terms["ce"], "loss_kd": terms["kd"]}
            yield from case.compare(f"dml{name}", f"{method}_{kind}", values)


def stack(case: Case, name: str) -> Tensor:
    return torch.stack([case(f"{name}{k}") for k in range(int(case.hp("teacher_num")))])


def multi_teacher_rows(load: Load) -> Iterator[Row]:
    for case in cases(load("04_camkd_logits")):
        teachers, labels, t = stack(case, "y_t").detach(), case("labels"), case.hp("T")
        ce = losses.cross_entropy(case("y_s"), labels)
        for ours, method, rule in (
            ("aver_mkd", "AVERAGE_LOSS", Weighting()),
            ("ebkd", "EBKD", ebkd.Entropy()),
            ("ca_mkd logits", "CAMKD", ca_mkd.Confidence()),
        ):
            weights = rule.weights(case("y_s"), teachers, labels, t)
            divergence = weighted_divergence(case("y_s"), teachers, weights, t)
            loss = case.hp("gamma") * ce + case.hp("alpha") * divergence
            yield from case.compare(ours, method, {"loss": loss, "loss_cls": ce, "loss_div": divergence})
        weights = ebkd.entropy_weights(teachers)
        yield Row("ebkd", case.name, "weight", relative(weights, case.out("EBKD", "weight")))
        weights = ca_mkd.confidence_weights(teachers, labels)
        yield Row("ca_mkd logits", case.name, "weight", relative(weights, case.out("CAMKD", "weight")))
    for case in cases(load("04_camkd_inter")):
        yield from inter_rows(case) if case.has("inter/") else criterion_rows(case)
    for case in cases(load("04_camkd_hint")):
        yield from hint_rows(case)


def criterion_rows(case: Case) -> Iterator[Row]:
    count = int(case.hp("teacher_num"))
    embedded, maps = ([case(f"{name}{k}") for k in range(count)] for name in ("trans_s", "mid_t"))
    loss = ca_mkd.feature_loss(embedded, [m.detach() for m in maps], stack(case, "out_t"), case("labels"))
    yield from case.compare("ca_mkd features", "camkd_criterion", {"loss": loss})


def inter_rows(case: Case) -> Iterator[Row]:
    """The whole loss, with an embedding connected as here, except for maps of different sizes.

    The original resizes a map for each teacher from the one that it resized for the previous teacher.
    """
    labels, maps = case("labels"), [case(f"feat_t{k}").detach() for k in range(int(case.hp("teacher_num")))]
    embedded, projected, resized = [], [], case("feat_s")
    width = resized.shape[1]
    hidden = width // int(case.hp("factor")) if case.hp("convs") else 0
    for k, teacher_map in enumerate(maps):
        part = ca_mkd.embedding(width, teacher_map.shape[1], hidden).double()
        resized = resize(resized, teacher_map.shape[2:])
        parameters = {name: case(f"P.embed{k}.transfer.{name}") for name, _ in part.named_parameters()}
        embedded.append(torch.func.functional_call(part, parameters, resized))
        projected.append(F.linear(embedded[k].mean((2, 3)), case(f"fc{k}_W").detach(), case(f"fc{k}_b").detach()))
    feature = ca_mkd.feature_loss(embedded, maps, projected, labels)
    teachers, t = stack(case, "y_t").detach(), case.hp("T")
    weights = ca_mkd.Confidence().weights(case("y_s"), teachers, labels, t)
    logit = weighted_divergence(case("y_s"), teachers, weights, t)
    ce = losses.cross_entropy(case("y_s"), labels)
    loss = case.hp("gamma") * ce + case.hp("alpha") * logit + case.hp("beta") * feature
    values = {"loss": loss, "loss_div": logit, "loss_kd": feature}
    yield from case.compare("ca_mkd", "inter", values)
    yield Row(
        "ca_mkd",
        case.name,
        "weight_inter",
        relative(ca_mkd.confidence_weights(projected, labels), case.out("inter", "weight_inter")),
    )


def hint_rows(case: Case) -> Iterator[Row]:
    maps = [case(f"feat_t{k}").detach() for k in range(int(case.hp("teacher_num")))]
    regressed = []
    for k, teacher_map in enumerate(maps):
        part = fitnet_mkd.Regressor(tuple(case("feat_s").shape[1:]), tuple(teacher_map.shape[1:])).double()
        parameters = {name: case(f"P.reg{k}.{name.replace('norm', 'bn')}") for name, _ in part.named_parameters()}
        regressed.append(torch.func.functional_call(part, parameters, case("feat_s")))
    hint = fitnet_mkd.hint_loss([losses.map_distance(r, m) for r, m in zip(regressed, maps, strict=True)])
    labels = case("labels")
    ce = losses.cross_entropy(case("y_s"), labels)
    teachers, t = stack(case, "y_t").detach(), case.hp("T")
    divergence = weighted_divergence(case("y_s"), teachers, Weighting().weights(case("y_s"), teachers, labels, t), t)
    loss = case.hp("gamma") * ce + case.hp("alpha") * divergence + case.hp("beta") * hint
    values = {"loss": loss, "loss_div": divergence, "loss_kd": hint}
    yield from case.compare("fitnet_mkd", "AVERAGE_LOSS_intended", values)


def aekd_rows(load: Load) -> Iterator[Row]:
    """Weights compared with the exact optimum if it is unique, else the objective; losses with libsvm's weights."""
    arrays = load("04_camkd_aekd")
    for key in arrays:
        if not key.endswith("/out/G"):
            continue
        name, method = key.split("/")[:2]
        case, upper = Case(arrays, name), float(arrays[f"{name}/{method}/hp/C"])
        gram, exact = torch.from_numpy(np.array(arrays[key])), case.out(method, "scale_exact_qp")
        weights = min_norm.min_norm_weights(gram, upper)
        objective = weights @ gram @ weights
        yield Row(
            "aekd QP", f"{name}/{method}", "objective", relative(objective, case.out(method, "qp_objective_exact"))
        )
        if not int(case.out(method, "qp_unique")):
            continue
        if not method.endswith("norm1"):
            yield Row("aekd QP", f"{name}/{method}", "weights", relative(weights, exact))
        if case.has("in/y_s"):
            yield from aekd_loss_rows(case, method, upper, exact)


def aekd_loss_rows(case: Case, method: str, upper: float, exact: np.ndarray) -> Iterator[Row]:
    student, teachers, t = case("y_s"), stack(case, "y_t").detach(), case.hp("T")
    weights = aekd.aekd_weights(student, teachers, t, upper, normalize=method.endswith("norm1"))
    yield Row("aekd", f"{case.name}/{method}", "weights", relative(weights, exact))
    libsvm = torch.from_numpy(case.out(method, "scale").astype(np.float64))
    divergence = weighted_divergence(student, teachers, libsvm.unsqueeze(1), t)
    ce = losses.cross_entropy(student, case("labels"))
    loss = case.hp("gamma") * ce + case.hp("alpha") * divergence
    yield from case.compare("aekd (libsvm's weights)", method, {"loss": loss, "loss_div": divergence})


def teskd_rows(load: Load) -> Iterator[Row]:
    for case in cases(load("05_teskd_loss")):
        students = torch.stack([case(f"b{i}_out") for i in (1, 2, 3)])
        features = torch.stack([case(f"b{i}_fea").flatten(1) for i in (1, 2, 3)])
        feature = case("final_fea").flatten(1)
        sums = teskd.teskd_loss(case("out"), students, feature, features, case("labels"), case.hp("T"))
        weights = [case.hp(f"{name}_weight") for name in ("ce", "kd", "fea")]
        values = {
            "loss": sum(w * s for w, s in zip(weights, sums.values())),
            "loss_model": sums["ce"],
            "loss_kd": sums["kd"],
            "loss_fea": sums["feature"],
        }
        yield from case.compare("teskd (+1e-7)", "teskd", values)


def dkd_rows(load: Load) -> Iterator[Row]:
    arrays = {key: x for key, x in load("06_mdistiller").items() if key.startswith("dkd_")}
    for case in cases(arrays):
        for method in dict.fromkeys(key.split("/")[1] for key in arrays if key.startswith(f"{case.name}/DKD_")):
            alpha, beta, t = (case.hp(name, method) for name in ("alpha", "beta", "T"))
            terms = dkd.dkd_loss(case("y_s"), case("y_t").detach(), case("labels"), t, alpha, beta)
            yield from case.compare("dkd", method, {"loss": sum(terms.values()).mean()})


def funmatch_rows(load: Load) -> Iterator[Row]:
    arrays = load("07_funmatch")
    for case in cases(arrays):
        if case.has("funmatch/") and case.hp("global_batch_size") == len(case("y_s")):
            loss = funmatch.funmatch_loss(case("y_s"), case("y_t").detach().unsqueeze(0), case.hp("T"), False)
            yield from case.compare("funmatch (no T²)", "funmatch", {"loss": loss})


def rows(load: Load) -> Iterator[Row]:
    for part in (kd_rows, okddip_rows, branch_rows, multi_teacher_rows, aekd_rows, teskd_rows, dkd_rows, funmatch_rows):
        yield from part(load)
