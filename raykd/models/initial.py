"""Initialisations of the CIFAR networks, as in their authors' code; other parameters keep torch's default."""

import math

from torch import nn


def normal_by_fan_out(model: nn.Module, by_groups: bool = True) -> None:
    """Convolutions N(0, 2 / fan_out), biases 0 ("Delving Deep into Rectifiers", He et al., ICCV 2015).

    by_groups=False counts all output channels for grouped convolutions too, as RepDistiller's MobileNetV2 does.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 * (module.groups if by_groups else 1) / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def normal_by_fan_in(model: nn.Module) -> None:
    """Convolutions N(0, 2 / fan_in)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


def small_linear(model: nn.Module) -> None:
    """Linear layers N(0, 0.01²), biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)


def zero_linear_bias(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
