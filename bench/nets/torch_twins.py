"""The networks of `bench.nets.training` in PyTorch, with the names of ours."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class LeNet5(nn.Module):
    """As `nets.models.LeNet5` with relu and max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = functional.max_pool2d(functional.relu(conv(x)), 2)
        x = functional.relu(self.fc2(functional.relu(self.fc1(x.flatten(1)))))
        return self.fc3(x)


def conv_norm(inputs, outputs, kernel=3, stride=1, groups=1, activation=nn.ReLU6):
    """As `nets.models.blocks.conv_norm`; activations in place."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    last = () if activation is None else (activation(inplace=True),)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *last)


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs, width, stride) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        other = stride > 1 or inputs != width
        self.downsample = conv_norm(inputs, width, 1, stride, activation=None) if other else None

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return functional.relu(y, inplace=True)


class ResNet18(nn.Module):
    """As `nets.models.resnet18`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage in range(4):
            width = 64 * 2**stage
            blocks = Block(inputs, width, 2 if stage else 1), Block(width, width, 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = width
        self.fc = nn.Linear(512, 1000)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    """1 x 1 to more channels, depthwise, 1 x 1 to few."""

    def __init__(self, inputs, outputs, stride, expansion) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            *([conv_norm(inputs, hidden, 1)] if expansion != 1 else []),
            conv_norm(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """As `nets.models.mobilenet_v2` without dropout."""

    def __init__(self) -> None:
        super().__init__()
        blocks, inputs = [conv_norm(3, 32, 3, 2)], 32
        stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
        for expansion, outputs, count, stride in [*stages, (6, 160, 3, 2), (6, 320, 1, 1)]:
            for i in range(count):
                blocks.append(InvertedResidual(inputs, outputs, 1 if i else stride, expansion))
                inputs = outputs
        self.features = nn.Sequential(*blocks, conv_norm(inputs, 1280, 1))
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(1280, 1000))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Unit(nn.Module):
    """As `nets.models.yunet.Unit`."""

    def __init__(self, inputs, outputs, norm=True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.bn = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        return y if self.bn is None else functional.relu(self.bn(y), inplace=True)


class YuNet(nn.Module):
    """As `nets.models.YuNet`."""

    def __init__(self, thin=16, width=64, answers=16) -> None:
        super().__init__()
        first = nn.Conv2d(3, thin, 3, 2, 1)
        self.stem = nn.Sequential(first, nn.BatchNorm2d(thin), nn.ReLU(), Unit(thin, thin))
        stages = [nn.Sequential(Unit(thin, thin), Unit(thin, width))]
        stages += [nn.Sequential(Unit(width, width), Unit(width, width)) for _ in range(4)]
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(Unit(width, width) for _ in range(3))
        self.shared = nn.ModuleList(Unit(width, width) for _ in range(3))
        self.heads = nn.ModuleList(Unit(width, answers, norm=False) for _ in range(3))

    def forward(self, x):
        x, maps = self.stages[0](functional.max_pool2d(self.stem(x), 2)), []
        x = functional.max_pool2d(self.stages[1](x), 2)
        for stage in list(self.stages)[2:]:
            x = stage(x)
            maps.append(x)
            x = functional.max_pool2d(x, 2)
        above = None
        for level in (2, 1, 0):
            if above is not None:
                size = maps[level].shape[2:]
                maps[level] = maps[level] + functional.interpolate(above, size, mode="nearest")
            above = maps[level] = self.lateral[level](maps[level])
        levels = zip(self.heads, self.shared, maps, strict=True)
        return tuple(head(unit(x)) for head, unit, x in levels)


def load(model: nn.Module, state: dict) -> None:
    """Copy the weights of one of ours."""
    own = model.state_dict()
    found = {k: torch.from_numpy(v.copy()) for k, v in state.items() if k in own}
    model.load_state_dict({**own, **found})
