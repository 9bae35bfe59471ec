"""Compares the losses of the later logit methods with golden's 12_more_methods: values and gradients."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.func import functional_call

from raykd.losses import cross_entropy, curriculum, standardize
from raykd.methods import ctkd, deit, dist, dkd, kd, nkd, ofa, sdd, ttm, wsld
from tests.support.golden import Case, Load, Row, cases, relative


def rows(load: Load) -> Iterator[Row]:
    for case in cases(load("12_more_methods")):
        if case.has("in/y_t") and case.has("in/cls_s"):
            for method in methods_of(case):
                yield from loss_rows(case, method)
        elif case.name.startswith("ctkd_e"):
            yield curriculum_row(case)
        elif case.name.startswith("sdd"):
            yield from sdd_rows(case)
        elif case.name.startswith("ofa_full"):
            yield from exit_rows(case)


def methods_of(case: Case) -> list[str]:
    found = [key.split("/")[1] for key in case.arrays if key.startswith(f"{case.name}/") and "/out/" in key]
    return list(dict.fromkeys(found))


def loss_rows(case: Case, method: str) -> Iterator[Row]:
    """One method of a case of logits; those that raykd lacks are skipped."""
    student, teacher, labels = case("y_s"), case("y_t").detach(), case("labels")
    if method.endswith("soft_labels"):
        labels = case("soft_labels").detach()
    match method.split("_")[0]:
        case "nkd":
            terms = nkd.nkd_loss(student, teacher, labels, case.hp("T", method))
            values = {"loss": (terms["target"] + case.hp("gamma", method) * terms["others"]).mean()}
        case "wsld" if method.endswith("original"):
            values = {
                "loss": cross_entropy(student, labels) + 2.5 * wsld.wsld_loss(student, teacher, labels, 2.0).mean()
            }
        case "wsld":
            t, alpha = case.hp("T", method), case.hp("alpha", method)
            values = {"loss": alpha * wsld.wsld_loss(student, teacher, labels, t).mean()}
        case "ttm" | "wttm" as name:
            values = {"loss": ttm.ttm_loss(student, teacher, case.hp("l", method), weighted=name == "wttm").mean()}
        case "ofa":
            values = {"loss": ofa.ofa_loss(student, teacher, labels, case.hp("eps", method), case.hp("T", method))}
        case "deit":
            values = {"loss": deit_total(case, method, labels)}
        case "dist":
            beta, gamma = case.hp("beta", method), case.hp("gamma", method)
            values = {"loss": sum(dist.dist_loss(student, teacher, case.hp("T", method), beta, gamma).values())}
        case "logitstd":
            values = {"loss": standardized(case, method)}
        case "ctkd" if method != "ctkd_instance" and method != "ctkd_dkd":
            values = curriculum_values(case, method)
        case _:  # ctkd_dkd: the original's gradient for θ is NaN; _masked is the same without
            return
    yield from case.compare(method.split("_")[0], method, values)


def deit_total(case: Case, method: str, labels: Tensor) -> Tensor:
    """The original divides its soft term by B·C instead of B."""
    hard, alpha = method.startswith("deit_hard"), case.hp("alpha", method)
    t = 0.0 if hard else case.hp("tau", method)
    term = deit.teacher_label_loss(case("y_s"), case("y_t").detach(), t) / (1 if hard else case("y_s").shape[1])
    return (1 - alpha) * cross_entropy(case("cls_s"), labels) + alpha * term


def standardized(case: Case, method: str) -> Tensor:
    student, teacher, t = case("y_s"), case("y_t").detach(), case.hp("T", method)
    if method == "logitstd_kd":
        return kd.kd_loss(student, teacher, t, standardize=True).mean()
    alpha, beta = case.hp("alpha", method), case.hp("beta", method)
    terms = dkd.dkd_loss(standardize(student), standardize(teacher), case("labels"), t, alpha, beta)
    return sum(terms.values()).mean()


def curriculum_values(case: Case, method: str) -> dict[str, Tensor]:
    low, span, scale = (case.hp(name, method) for name in ("t_start", "t_end", "lambda_"))
    t = ctkd.trained_temperature(case("global_T"), low, span, reversal=-scale)
    student, teacher = case("y_s"), case("y_t").detach()
    if method.startswith("ctkd_kd"):
        return {"loss": kd.kd_loss(student, teacher, t).mean(), "temp": t}
    terms = dkd.dkd_loss(student, teacher, case("labels"), t, case.hp("alpha", method), case.hp("beta", method))
    return {"loss": sum(terms.values()).mean(), "temp": t}


def curriculum_row(case: Case) -> Row:
    golden = case.out("cosine", "lambda_")
    length = case.hp("decay_loops")
    ours = torch.tensor([-curriculum(epoch, length) for epoch in range(len(golden))], dtype=torch.float64)
    return Row("ctkd", case.name, "lambda", relative(ours, golden))


def sdd_rows(case: Case) -> Iterator[Row]:
    """On KD and DKD; the original's NKD includes the label among the other classes by mistake."""
    scales = tuple(int(scale) for scale in case.text("M").strip("[]").split(","))
    student = sdd.cells(case("map_s"), scales) @ case("W_s").T + case("b_s")
    teacher = (sdd.cells(case("map_t"), scales) @ case("W_t").T + case("b_t")).detach()
    weights = sdd.conflict_weights(teacher, case("labels"), 2.0).flatten()
    labels = case("labels").repeat_interleave(student.shape[1])
    z_s, z_t = student.flatten(0, 1), teacher.flatten(0, 1)
    loss = (weights * kd.kd_loss(z_s, z_t, case.hp("T", "sdd_kd"))).mean()
    yield from case.compare("sdd", "sdd_kd", {"loss": loss, "patch_s": student.mT, "patch_t": teacher.mT})
    t, alpha, beta = (case.hp(name, "sdd_dkd") for name in ("T", "alpha", "beta"))
    terms = dkd.dkd_loss(z_s, z_t, labels, t, alpha, beta)
    yield from case.compare("sdd", "sdd_dkd", {"loss": (weights * sum(terms.values())).mean()})


def exit_rows(case: Case) -> Iterator[Row]:
    """OFA-KD's whole loss, with exits built as here from golden's parameters."""
    widths = [case(f"feat_s{i}").shape[1] for i in range(4)]
    width = int(max(case.hp("dim_s"), case.hp("dim_t")))
    powers, labels, teacher = case.arrays[f"{case.name}/hp/eps"], case("labels"), case("y_t").detach()
    losses = []
    for i in range(4):
        leave = ofa.exit_of(widths[i:], width, case("y_s").shape[1]).double()
        names = {name: f"P.projector.{i + 1}.{golden_name(name)}" for name, _ in leave.named_parameters()}
        logits = functional_call(leave, {name: case(key) for name, key in names.items()}, case(f"feat_s{i}"))
        losses.append(ofa.ofa_loss(logits, teacher, labels, float(powers[i]), case.hp("T")))
    ce, exits = cross_entropy(case("y_s"), labels), torch.stack(losses).sum()
    final = ofa.ofa_loss(case("y_s"), teacher, labels, float(powers[4]), case.hp("T"))
    values = {"loss": ce + final + exits, "loss_gt": ce, "loss_kd": final, "loss_ofa": exits}
    yield from case.compare("ofa", "ofa", values)


def golden_name(name: str) -> str:
    """Golden keeps the layers of a separable convolution under `op`."""
    block, _, rest = name.partition(".")
    return f"{block}.op.{rest}" if "." in rest else name
