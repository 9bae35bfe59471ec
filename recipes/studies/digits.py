"""Every method on scikit-learn's digits: all labels, ten a class, and ten a class with the other images unlabelled.

    raykd study studies/digits
    raykd report runs/studies/digits

With all labels, accuracy saturates at 99 %, where methods can't be distinguished. In the second column the student
trains on ten images per class; its teachers were trained on all images. In the third it also sees the other images
without their labels, for which it has only the teachers' outputs; so this column has only methods whose loss needs no
labels. TESKD needs a network of four stages: it has its own column, in which that network alone is the baseline.
"""

from dataclasses import replace

from raykd.data.sources import Digits, FewLabels
from raykd.models.config import Network
from raykd.recipe.study import Column, Row, Study
from raykd.recipes.digits import (
    ab,
    aekd,
    at,
    aver_mkd,
    ca_mkd,
    cc,
    cl_ilr,
    crd,
    ctkd,
    deit,
    dist,
    dkd,
    dml,
    ebkd,
    fitnet_mkd,
    fsp,
    ft,
    funmatch,
    ickd,
    individual,
    kd,
    kd_standardized,
    kdsvd,
    mgd,
    nkd,
    nst,
    ofa,
    ofd,
    okddip,
    one,
    pkt,
    reviewkd,
    rkd,
    sdd,
    semckd,
    simkd,
    sp,
    srrl,
    supervised,
    teskd,
    ttm,
    vid,
    wsld,
    wttm,
)

base = replace(supervised.recipe, teachers=ca_mkd.recipe.teachers, workers=1)
few = FewLabels(source=Digits(), per_class=10)
ALL, FEW, REST, FOUR_STAGES = "all labels", "10 images a class", "10 labels a class, all images", "four stages"

# How a method's loss does without labels: by a weight of 0.
WITHOUT_LABELS = {
    "KD": {"method.gamma": 0.0},
    "DIST": {"method.alpha": 0.0},
    "TTM": {"method.gamma": 0.0},
    "WTTM": {"method.gamma": 0.0},
    "FunMatch": {},
    "AVER-MKD": {"method.gamma": 0.0},
}
LABELLED_ALONE = {"data.labelled_share": 1.0}

METHODS = {
    "KD": kd,
    "KD, standardised": kd_standardized,
    "DKD": dkd,
    "DIST": dist,
    "NKD": nkd,
    "WSLD": wsld,
    "TTM": ttm,
    "WTTM": wttm,
    "CTKD": ctkd,
    "OFA": ofa,
    "SDD": sdd,
    "DeiT": deit,
    "FunMatch": funmatch,
    "AT": at,
    "NST": nst,
    "AB": ab,
    "FSP": fsp,
    "FT": ft,
    "VID": vid,
    "KDSVD": kdsvd,
    "OFD": ofd,
    "ReviewKD": reviewkd,
    "MGD": mgd,
    "ICKD": ickd,
    "SemCKD": semckd,
    "SimKD": simkd,
    "SRRL": srrl,
    "SP": sp,
    "CC": cc,
    "RKD": rkd,
    "PKT": pkt,
    "CRD": crd,
    "AVER-MKD": aver_mkd,
    "AEKD": aekd,
    "EBKD": ebkd,
    "CA-MKD": ca_mkd,
    "FitNet-MKD": fitnet_mkd,
    "Individual": individual,
    "DML": dml,
    "CL-ILR": cl_ilr,
    "ONE": one,
    "OKDDip": okddip,
}

taught = tuple(
    Row.of(
        name,
        module.recipe,
        base=supervised.recipe,
        columns=(ALL, FEW, REST) if name in WITHOUT_LABELS else (ALL, FEW),
        in_column={REST: WITHOUT_LABELS[name]} if name in WITHOUT_LABELS else {},
    )
    for name, module in METHODS.items()
)

study = Study(
    rows=(
        Row(name="Supervised", method=supervised.recipe.method, in_column={REST: LABELLED_ALONE}),
        *taught,
        Row(name="TESKD", method=teskd.recipe.method, columns=(FOUR_STAGES,)),
    ),
    columns=(
        Column(name=ALL, recipe=base),
        Column(name=FEW, recipe=replace(base, data=replace(base.data, source=few, labelled_share=1.0))),
        Column(name=REST, recipe=replace(base, data=replace(base.data, source=few))),
        Column(name=FOUR_STAGES, recipe=replace(base, student=Network(name="timm:test_resnet"))),
    ),
    baseline="Supervised",
    seeds=(0, 1, 2),
)
