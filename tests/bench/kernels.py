"""Group kernels: the kernels that one training step of every method launches on a GPU, counted on a simulated one.

A kernel is an ATen operation on the GPU that is not a view; bytes are those that these operations read and write. 128
images of 32 pixels, 100 classes, float32, SGD, including the meter. Steps at commit 1865c16 were counted in the same
way, for methods that existed: it launched kernels for each gradient's norm, each BatchNorm's counter and each term's
mean, and did not fuse the teachers' convolutions.
"""

from collections.abc import Iterator
from functools import partial

from raykd import UserError
from raykd.method import MethodConfig
from tests.support import every_method, gpu_step
from tests.support.every_method import Case

SIZES = gpu_step.Sizes(batch=128, classes=100, image=32)
STUDENTS = ("resnet20", "cifar_resnet18")
BY_KIND = {"online": ("resnet32", ()), "several teachers": ("vgg8", ("resnet8x4",) * 3)}
PAIR = ("resnet20", ("resnet56",))

BEFORE: dict[str, tuple[int, int]] = {
    "Supervised": (199, 1823648794),
    "KD": (364, 3336071727),
    "DKD": (424, 3338752316),
    "DIST": (471, 3338962444),
    "FunMatch": (355, 3335711142),
    "AverMKD": (171, 3796472863),
    "FitNetMKD": (227, 5249856388),
    "EBKD": (213, 3804366343),
    "AEKD": (360, 3799880033),
    "CAMKD": (310, 4907118016),
    "OKDDip": (698, 4245561549),
    "ONE": (671, 4267361940),
    "CLILR": (664, 4254920019),
    "Individual": (606, 4229721206),
    "DML": (612, 5779423299),
    "TESKD": (415, 28949609972),
}


def rows() -> Iterator[dict]:
    for name, config in every_method.configs().items():
        case = case_of(config)
        with gpu_step.running(case, SIZES) as run:
            trace = gpu_step.traced_update(run, SIZES)
        kernels, moved = BEFORE.get(name, ("", ""))
        row = {"method": name, "networks": networks(case), "kernels": trace.kernels, "bytes": trace.bytes}
        row["launches"] = trace.launches
        yield row | {"kernels before": kernels, "bytes before": moved}


def case_of(config: MethodConfig) -> Case:
    """Networks as paired in the method's paper, or any that the method supports."""
    student, teachers = BY_KIND.get(config.kind, PAIR)
    case = Case(config, student, teachers if config.uses_teachers else ())
    create = partial(gpu_step.network, sizes=SIZES)
    try:
        case.build(create, [create(name) for name in case.teachers])
    except UserError:
        return every_method.case_of(config, create, STUDENTS, PAIR[1][0])
    return case


def networks(case: Case) -> str:
    taught = f"{len(case.teachers)} × {case.teachers[0]} → " if case.teachers else ""
    return taught + case.student
