"""The losses of RepDistiller's and mdistiller's methods compared with golden's 06_repdistiller and 06_mdistiller."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import functional_call

from raykd.losses import unit_length
from raykd.methods import ab, at, cc, crd, fsp, ft, kdsvd, nst, pkt, rkd, sp, vid
from tests.support.golden import Case, Load, Row, cases, relative

Maps = list[Tensor]


def maps_of(case: Case, which: str) -> Maps:
    count = sum(case.has(f"in/{which}{i}") for i in range(10))
    return [case(f"{which}{i}") for i in range(count)]


def layerwise(loss: Callable[..., Tensor]) -> Callable[[Maps, Maps], Maps]:
    return lambda student, teacher: [loss(s, t) for s, t in zip(student, teacher, strict=True)]


def ab_layers(margin: float) -> Callable[[Maps, Maps], Maps]:
    def layers(student: Maps, teacher: Maps) -> Maps:
        losses = [ab.boundary_loss(s, t, margin) for s, t in zip(student, teacher, strict=True)]
        return [ab.SCALE * 2.0 ** (i - len(losses) + 1) * loss for i, loss in enumerate(losses)]

    return layers


def fsp_layers(student: Maps, teacher: Maps) -> Maps:
    pairs = range(len(student) - 1)
    return [fsp.fsp_loss(student[i : i + 2], teacher[i : i + 2]) for i in pairs]


LAYERED: dict[str, Callable[[Maps, Maps], Maps]] = {
    **{f"AT_p{p}": layerwise(lambda s, t, p=p: at.at_loss(s, t, p)) for p in (1, 2, 3, 4)},
    "SP": layerwise(sp.sp_loss),
    "NST": layerwise(nst.nst_loss),
    "FSP": fsp_layers,
    **{f"AB_m{m}": ab_layers(m) for m in (0.5, 1.0, 2.0)},
}


def layered_rows(case: Case) -> Iterator[Row]:
    for method, layers in LAYERED.items():
        if case.has(f"{method}/"):
            maps = maps_of(case, "s"), maps_of(case, "t")
            losses = layers(*maps)
            total = ab.ab_loss(*maps, float(method[4:])) if method.startswith("AB") else sum(losses)
            values = {"loss": fsp.fsp_loss(*maps) if method == "FSP" else total} | {"per_layer": torch.stack(losses)}
            yield from case.compare(method.split("_")[0].lower(), method, values)


def vector_rows(case: Case) -> Iterator[Row]:
    s, t = case("f_s"), case("f_t")
    yield from case.compare("cc", "CC", {"loss": cc.cc_loss(s, t)})
    yield from case.compare("pkt", "PKT", {"loss": pkt.pkt_loss(s, t)})
    terms = rkd.rkd_loss(s, t)
    values = {"loss": 25 * terms["distance"] + 50 * terms["angle"]}
    values |= {"loss_d": terms["distance"], "loss_a": terms["angle"]}
    twins = len(torch.unique(s.detach(), dim=0)) < len(s)  # the original's gradient divides by 1e-12 for them
    yield from (row for row in case.compare("rkd", "RKD", values) if not (twins and row.what.startswith("d ")))


def svd_rows(case: Case) -> Iterator[Row]:
    """With the original's singular vectors of the teacher, as their signs are arbitrary."""
    k, student, teacher = int(case.hp("k")), maps_of(case, "s"), []
    for i, t in enumerate(maps_of(case, "t")):
        vectors, values = kdsvd.teacher_vectors(t, k)
        theirs = torch.from_numpy(case.out("KDSVD", f"svd_t{i}_V"))
        yield Row("kdsvd", case.name, f"values {i}", relative(values, case.out("KDSVD", f"svd_t{i}_S")))
        yield Row("kdsvd", case.name, f"vectors {i}", relative(vectors.abs(), theirs.abs().numpy()))
        teacher.append((theirs, values))
    own = [kdsvd.right_vectors(s, k + kdsvd.EXTRA) for s in student]
    values = {"loss": kdsvd.kdsvd_loss(own, teacher)}
    # The original's gradient of the teacher's maps is not compared: in training they require none.
    yield from (row for row in case.compare("kdsvd", "KDSVD", values) if not row.what.startswith("d t"))


def vid_rows(case: Case) -> Iterator[Row]:
    s, t, scale = case("f_s"), case("f_t"), case("P.log_scale")
    part = vid.Regressor(s.shape[1], t.shape[1]).double()
    parameters = {name.replace("mean", "P.regressor"): name for name, _ in part.mean.named_parameters(prefix="mean")}
    given = {own: case(theirs) for theirs, own in parameters.items()} | {"scale": scale}
    yield from case.compare("vid", "VID", {"loss": functional_call(part, given, (s, t))})
    fresh = torch.full_like(scale, part.scale[0].item())
    yield Row("vid", case.name, "first scale", relative(fresh[0], case.arrays[f"{case.name}/hp/init_log_scale"]))


def crd_rows(case: Case) -> Iterator[Row]:
    """Losses of two calls, gradients of the first, and the memories after it."""
    embeddings = []
    for which in ("s", "t"):
        weight, bias = (case(f"P.embed_{which}.linear.{part}") for part in ("weight", "bias"))
        embeddings.append(unit_length(torch.nn.functional.linear(case(f"f_{which}"), weight, bias)))
    memories = [case(f"memory_v{i}").detach().clone() for i in (2, 1)]  # of the teacher, of the student
    indices, samples, t = case("contrast_idx"), int(case.hp("n_data")), case.hp("nce_t_effective_float32")
    scores = [(crd.products(e, m, indices) / t).exp() for e, m in zip(embeddings, memories, strict=True)]
    normalisers = [x.mean() * samples for x in scores]

    def loss() -> Tensor:
        total = 0.0
        for e, m, z in zip(embeddings, memories, normalisers, strict=True):
            now = (crd.products(e, m, indices) / t).exp() / z
            total = total + crd.contrastive_loss(e, m, indices, now, t, samples)
        return total

    values = {"loss": loss(), "Z_v1": normalisers[0], "Z_v2": normalisers[1]}
    for memory, embedding in zip(memories, reversed(embeddings), strict=True):
        crd.update_memory(memory, case("idx"), embedding.detach(), case.hp("nce_m"))
    values |= {"memory_v2_after": memories[0], "memory_v1_after": memories[1], "loss_second_call": loss().detach()}
    yield from case.compare("crd", "CRD", values)


def family_rows(load: Load) -> Iterator[Row]:
    for case in cases(load("06_repdistiller")):
        yield from layered_rows(case)
        for power in (1, 2):
            if case.has(f"FT_p2_{power}/"):
                yield from case.compare("ft", f"FT_p2_{power}", {"loss": ft.ft_loss(case("s0"), case("t0"), power)})
        parts = {"in/f_s": vector_rows, "KDSVD/": svd_rows, "VID/": vid_rows, "CRD/": crd_rows}
        for path, part in parts.items():
            if case.has(path) and (part is not vector_rows or case.has("CC/")):
                yield from part(case)
    for case in cases(load("06_mdistiller")):
        yield from mdistiller_rows(case)


def mdistiller_rows(case: Case) -> Iterator[Row]:
    """The same losses in another code base, summed over the layers."""
    for method, loss in {"at_loss_p2": at.at_loss, "sp_loss": sp.sp_loss, "nst_loss": nst.nst_loss}.items():
        if case.has(f"{method}/"):
            total = sum(layerwise(loss)(maps_of(case, "s"), maps_of(case, "t")))
            yield from case.compare(f"{method.split('_')[0]} (mdistiller)", method, {"loss": total})
    if case.has("pkt_loss/"):
        yield from case.compare("pkt (mdistiller)", "pkt_loss", {"loss": pkt.pkt_loss(case("f_s"), case("f_t"))})
