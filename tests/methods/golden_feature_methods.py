"""Compares the losses of the later feature methods with golden numbers: values, gradients, their own parameters'."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from raykd.losses import map_distance
from raykd.methods import ickd, mgd, ofd, reviewkd, semckd, simkd, srrl
from raykd.methods.base.maps import conv_bn, pool_to_smaller
from raykd.models.reused_head import projector
from tests.support.golden import Case, Load, Row, cases, relative


def rows(load: Load) -> Iterator[Row]:
    for case in cases(load("06_mdistiller")):
        if case.name.startswith("hcl"):
            levels = count(case, "s")
            loss = reviewkd.hcl_loss(*([case(f"{side}{i}") for i in range(levels)] for side in "st"))
            yield from case.compare("reviewkd", "hcl_loss", {"loss": loss})
        elif case.name.startswith("ofd"):
            margin = torch.from_numpy(case.out("feat_loss", "margin")).double()
            loss = ofd.partial_distance(case("source"), case("target"), margin)
            yield from case.compare("ofd", "feat_loss", {"loss": loss})
        elif case.name.startswith("abf"):
            yield from review_rows(case)
    kinds = {"semckd": semckd_rows, "simkd": simkd_rows, "srrl": srrl_rows, "ickd": ickd_rows, "mgd": mgd_rows}
    for case in cases(load("12_more_methods")):
        compare = kinds.get(case.name.split("_")[0])
        if compare is not None:
            yield from compare(case)


def count(case: Case, name: str) -> int:
    """The number of inputs name0, name1 …"""
    return next(i for i in range(99) if not case.has(f"in/{name}{i}"))


class WithGolden(nn.Module):
    """A module in float64 that runs with golden's parameters, and keeps its own BatchNorm statistics."""

    def __init__(self, case: Case, module: nn.Module, golden_name: Callable[[str], str]):
        super().__init__()
        self.inner = module.double()
        self.golden = {name: case(golden_name(name)) for name, _ in module.named_parameters()}

    def forward(self, *inputs):
        return functional_call(self.inner, self.golden, inputs)


def review_rows(case: Case) -> Iterator[Row]:
    levels = count(case, "s")
    features, maps = ([case(f"{side}{i}") for i in range(levels)] for side in "st")
    fusions = []
    for i in range(levels):
        at = levels - 1 - i
        fusion = reviewkd.Fusion(features[at].shape[1], int(case.hp("mid_channel")), maps[at].shape[1], fuses=i > 0)
        golden = lambda name, i=i: f"P.{i}.{name.replace('attention', 'att_conv')}"  # noqa: E731
        fusions.append(WithGolden(case, fusion, golden))
    fused = reviewkd.review(fusions, features, [target.shape[2:] for target in maps])
    loss = reviewkd.hcl_loss(fused, [target.detach() for target in maps])
    yield from case.compare("reviewkd", "reviewkd_abf", {"loss": loss} | {f"result{i}": x for i, x in enumerate(fused)})


def simkd_rows(case: Case) -> Iterator[Row]:
    shapes = [tuple(case(name).shape[1:]) for name in ("feat_s", "feat_t")]
    part = projector(*shapes, int(case.hp("factor")))
    project = WithGolden(case, part, lambda name: f"P.{name}")
    projected = project(case("feat_s"))
    predicted = F.linear(projected.mean((2, 3)), case("cls_W").detach(), case("cls_b").detach())
    loss = simkd.simkd_loss(projected, case("feat_t").detach())
    yield from case.compare("simkd", "simkd", {"loss": loss, "trans_feat_s": projected, "pred_feat_s": predicted})
    projected = project.eval()(case("feat_s"))
    predicted = F.linear(projected.mean((2, 3)), case("cls_W"), case("cls_b"))
    golden = case.out("simkd", "eval_pred_after_train")
    yield Row("simkd", case.name, "predicted after the step", relative(predicted, golden))


def semckd_rows(case: Case) -> Iterator[Row]:
    own = [case(f"feat_s{i}") for i in range(int(case.hp("n_s")))]
    its = [case(f"feat_t{i}").detach() for i in range(int(case.hp("n_t")))]
    width = len(own[0])
    embedded = {}
    for kind, maps in (("query", own), ("key", its)):
        parts = [
            WithGolden(case, semckd.Embedding(width), lambda n, i=i, k=kind: f"P.{k}_{i}.{n}") for i in range(len(maps))
        ]
        embedded[kind] = torch.stack([part(semckd.similarity(x, width)) for part, x in zip(parts, maps)], 1)
    weights = semckd.attention(embedded["query"], embedded["key"], case.hp("soft"))
    errors = torch.stack(
        [torch.stack([error(case, i, j, s, t) for j, t in enumerate(its)], 1) for i, s in enumerate(own)], 1
    )
    values = {"loss": semckd.semckd_loss(weights, errors), "weight": weights, "ind_loss": errors}
    yield from case.compare("semckd", "semckd", values)


def embedding(case: Case, name: str, width: int) -> nn.Module:
    return WithGolden(case, semckd.Embedding(width), lambda own: f"P.{name}.{own}")


def error(case: Case, i: int, j: int, student: Tensor, teacher: Tensor) -> Tensor:
    """Of stage i of the student and stage j of the teacher, each sample's."""
    part = semckd.regressor(student.shape[1], teacher.shape[1])
    source, target = pool_to_smaller(student, teacher)
    return map_distance(WithGolden(case, part, lambda name: f"P.regressor{i}{j}.regressor.{name}")(source), target)


def srrl_rows(case: Case) -> Iterator[Row]:
    """SimKD's comparison, of pooled vectors, and the authors', of maps."""
    weight, bias, logits = (case(name).detach() for name in ("cls_W", "cls_b", "y_t"))
    widths = case("pooled_s").shape[1], case("pooled_t").shape[1]
    if len(logits) > 1:  # a pooled vector has no statistics
        regress = WithGolden(case, srrl.regressor(*widths), lambda name: f"P.transfer.{name}")
        pooled = regress(case("pooled_s")[:, :, None, None]).mean((2, 3))
        projected = F.linear(pooled, weight, bias)
        terms = srrl.srrl_loss(pooled, case("pooled_t").detach(), projected, logits)
        values = {"loss": sum(terms.values()), "loss_feat": terms["feature"], "loss_logit": terms["logit"]}
        yield from case.compare("srrl", "srrl_simkd", values | {"trans_feat_s": pooled, "pred_feat_s": projected})
    regress = WithGolden(case, srrl.regressor(*widths), lambda name: f"Q.Connectors.{name}")
    mean = regress(case("map_s")).mean((2, 3))
    terms = srrl.srrl_loss(mean, case("map_t").detach().mean((2, 3)), F.linear(mean, weight, bias), logits)
    for method in ("srrl_official_w1", "srrl_official_w5"):
        loss = terms["feature"] + case.hp("weight", method) * terms["logit"]
        yield from case.compare("srrl", method, {"loss": loss})


def ickd_rows(case: Case) -> Iterator[Row]:
    teacher = case("feat_t").detach()
    names = {"0": "conv2d", "1": "l2norm"}
    embed = WithGolden(
        case,
        nn.Sequential(*conv_bn(case("feat_s").shape[1], teacher.shape[1])),
        lambda name: f"P.embed_s.{names[name[0]]}{name[1:]}",
    )
    yield from case.compare("ickd", "ickd", {"loss": ickd.ickd_loss(embed(case("feat_s")), teacher)})


def mgd_rows(case: Case) -> Iterator[Row]:
    """Golden's masks; for detection, which masks large numbers, of 1 − the numbers."""
    student, teacher, numbers = case("feat_s"), case("feat_t").detach(), case("rand").detach()
    method = "mgd_det" if case.has("mgd_det/") else "mgd"
    numbers = 1 - numbers if method == "mgd_det" else numbers
    align, generation = mgd.modules(student.shape[1], teacher.shape[1])
    if case.has("in/P.align"):
        student = WithGolden(case, align, lambda name: f"P.align.{name}")(student)
    generate = WithGolden(case, generation, lambda name: f"P.generation.{name}")
    generated = generate(mgd.masked(student, numbers, case.hp("lambda_mgd")))
    yield from case.compare("mgd", method, {"loss": case.hp("alpha_mgd") * mgd.mgd_loss(generated, teacher)})
