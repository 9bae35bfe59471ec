"""A teacher with other pixel statistics gets exactly the images that it was trained on."""

import torch

from raykd.models import create
from raykd.models.frozen.renormalize import renormalize

DATA = ((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
TEACHER = ((0.5, 0.45, 0.4), (0.5, 0.22, 0.23))


def normalized(pixels, mean, std):
    mean, std = (torch.tensor(x, dtype=pixels.dtype)[None, :, None, None] for x in (mean, std))
    return (pixels - mean) / std


def setting():
    torch.manual_seed(0)
    teacher, pixels = create("resnet8", 7, 16).double().eval(), torch.rand(4, 3, 16, 16, dtype=torch.float64)
    return teacher, normalized(pixels, *DATA), normalized(pixels, *TEACHER)


def test_outputs_equal_those_of_correctly_normalised_images():
    teacher, given, right = setting()
    wrapped = renormalize(teacher, *DATA, *TEACHER)
    expected, found = teacher.output(right, {"stage2", "pooled"}), wrapped.output(given, {"stage2", "pooled"})
    torch.testing.assert_close(wrapped(given), teacher(right), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-12, atol=1e-12)
    trunk = wrapped.trunk(given, "stage3")
    torch.testing.assert_close(trunk, teacher.trunk(right, "stage3"), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(wrapped.run_from("stage3", trunk, ()).logits, expected.logits, rtol=1e-12, atol=1e-12)
    start = wrapped.trunk(given, "stem")
    torch.testing.assert_close(wrapped.run_from("stem", start, ()).logits, expected.logits, rtol=1e-12, atol=1e-12)


def test_features_are_classified_as_before():
    teacher, given, _ = setting()
    wrapped = renormalize(teacher, *DATA, *TEACHER)
    feature_map = teacher.output(given, {"stage3"}).features["stage3"]
    assert torch.equal(wrapped.classify(feature_map), teacher.classify(feature_map))


def test_equal_statistics_change_nothing():
    teacher, _, _ = setting()
    assert renormalize(teacher, *DATA, *DATA) is teacher
    assert renormalize(teacher, list(DATA[0]), list(DATA[1]), *DATA) is teacher


def test_renormalising_wraps_the_same_network():
    teacher, given, _ = setting()
    wrapped = renormalize(teacher, *DATA, *TEACHER)
    assert wrapped.model is teacher.model
    assert wrapped.state_dict().keys() == teacher.state_dict().keys()
    assert (wrapped.name, wrapped.num_classes, wrapped.shapes) == (teacher.name, 7, teacher.shapes)
    assert not wrapped.training
    assert wrapped.float()(given.float()).dtype == torch.float32
