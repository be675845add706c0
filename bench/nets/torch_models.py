"""The architectures of `nets.models` in PyTorch, as torchvision builds them where it does."""

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

relu = partial(F.relu, inplace=True)  # as fast as PyTorch can
torch.set_num_threads(1)  # threads of several libraries in one process wait for each other


def conv_norm(i, o, k=3, s=1, g=1, d=1, act=nn.ReLU):
    conv = nn.Conv2d(i, o, k, s, (k - 1) // 2 * d, d, g, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(o), *([act()] if act else []))


class LeNet5(nn.Module):
    def __init__(self, act=torch.tanh, pool=F.avg_pool2d):
        super().__init__()
        self.act, self.pool = act, pool
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(self.act(self.conv1(x)), 2)
        x = self.pool(self.act(self.conv2(x)), 2).flatten(1)
        return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))


class Classifier(nn.Module):
    def __init__(self, features, pool, classifier):
        super().__init__()
        self.features, self.avgpool, self.classifier = features, pool, classifier

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(w, n):
    a, b, c, d, h = (int(k * w) for k in (64, 192, 384, 256, 4096))
    return Classifier(
        nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
            nn.Conv2d(d, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        ),
        nn.AdaptiveAvgPool2d((6, 6)),
        nn.Sequential(
            nn.Dropout(), nn.Linear(d * 36, h), nn.ReLU(), nn.Dropout(), nn.Linear(h, h),
            nn.ReLU(), nn.Linear(h, n),
        ),
    )  # fmt: skip


VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", *[512, 512, 512, "M"] * 2]
VGG19 = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[*[512] * 4, "M"] * 2]


def vgg_features(plan, w, norm=False, ceil=False):
    layers, i = [], 3
    for v in plan:
        if v == "M":
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil))
            continue
        o = int(v * w)
        layers += [nn.Conv2d(i, o, 3, padding=1), *([nn.BatchNorm2d(o)] if norm else []), nn.ReLU()]
        i = o
    return nn.Sequential(*layers)


def vgg(plan, w, n, norm=False):
    h = int(4096 * w)
    drop = nn.Dropout
    return Classifier(
        vgg_features(plan, w, norm),
        nn.AdaptiveAvgPool2d((7, 7)),
        nn.Sequential(
            nn.Linear(int(512 * w) * 49, h), nn.ReLU(), drop(), nn.Linear(h, h), nn.ReLU(), drop(),
            nn.Linear(h, n),
        ),
    )  # fmt: skip


class Basic(nn.Module):
    def __init__(self, i, w, s, d, shortcut):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, w, 3, s, d, d, bias=False), nn.BatchNorm2d(w)
        self.conv2, self.bn2 = nn.Conv2d(w, w, 3, 1, d, d, bias=False), nn.BatchNorm2d(w)
        self.shortcut, self.out = shortcut, w
        if shortcut and (s > 1 or i != w):
            self.downsample = conv_norm(i, w, 1, s, act=None)

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        side = self.downsample(x) if hasattr(self, "downsample") else x
        return relu(y + side if self.shortcut else y)


class Bottleneck(nn.Module):
    def __init__(self, i, w, s, d, shortcut):
        super().__init__()
        self.out = o = 4 * w
        self.conv1, self.bn1 = nn.Conv2d(i, w, 1, bias=False), nn.BatchNorm2d(w)
        self.conv2, self.bn2 = nn.Conv2d(w, w, 3, s, d, d, bias=False), nn.BatchNorm2d(w)
        self.conv3, self.bn3 = nn.Conv2d(w, o, 1, bias=False), nn.BatchNorm2d(o)
        if s > 1 or i != o:
            self.downsample = conv_norm(i, o, 1, s, act=None)

    def forward(self, x):
        y = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        side = self.downsample(x) if hasattr(self, "downsample") else x
        return relu(self.bn3(self.conv3(y)) + side)


class ResNet(nn.Module):
    def __init__(self, block, counts, w, n, small=False, shortcut=True, rates=None):
        super().__init__()
        i = int(64 * w)
        self.conv1 = nn.Conv2d(3, i, *((3, 1, 1) if small else (7, 2, 3)), bias=False)
        self.bn1, self.small = nn.BatchNorm2d(i), small
        self.stages = []
        for stage, count in enumerate(counts):
            dilated = rates and rates[stage]
            blocks = []
            for k in range(count):
                s = 2 if k == 0 and stage and not dilated else 1
                d = rates[stage][k] if dilated else 1
                blocks.append(block(i, int(64 * 2**stage * w), s, d, shortcut))
                i = blocks[-1].out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            self.stages.append(f"layer{stage + 1}")
        if n:
            self.fc = nn.Linear(i, n)

    def maps(self, x):
        x = relu(self.bn1(self.conv1(x)))
        x = x if self.small else F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x

    def forward(self, x):
        return self.fc(self.maps(x).mean((2, 3)))


def mobilenet_v1(w, n):
    i, plan = int(32 * w), [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks = [conv_norm(3, i, 3, 2)]
    for c, s in [*plan, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        blocks.append(nn.Sequential(*conv_norm(i, i, 3, s, i), *conv_norm(i, int(c * w), 1)))
        i = int(c * w)
    return Classifier(nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), nn.Linear(i, n))


class Inverted(nn.Module):
    def __init__(self, i, o, s, t):
        super().__init__()
        h, act = i * t, nn.ReLU6
        first = [conv_norm(i, h, 1, act=act)] if t > 1 else []
        rest = [conv_norm(h, h, 3, s, h, act=act), *conv_norm(h, o, 1, act=None)]
        self.conv, self.add = nn.Sequential(*first, *rest), s == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.add else self.conv(x)


def rounded(v):
    return max(8, int(v + 4) // 8 * 8) + 8 * (max(8, int(v + 4) // 8 * 8) < 0.9 * v)


def mobilenet_v2(w, n):
    i = rounded(32 * w)
    blocks = [conv_norm(3, i, 3, 2, act=nn.ReLU6)]
    for t, c, count, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                           (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:  # fmt: skip
        for k in range(count):
            blocks.append(Inverted(i, rounded(c * w), s if k == 0 else 1, t))
            i = rounded(c * w)
    last = rounded(1280 * max(1, w))
    blocks.append(conv_norm(i, last, 1, act=nn.ReLU6))
    classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, n))
    return Classifier(nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), classifier)


class FCN(nn.Module):
    def __init__(self, stride, w, n):
        super().__init__()
        h, d = int(4096 * w), int(512 * w)
        self.features, self.stride = vgg_features(VGG16, w, ceil=True), stride
        self.classifier = nn.Sequential(
            nn.Conv2d(d, h, 7, padding=3), nn.ReLU(), nn.Dropout(), nn.Conv2d(h, h, 1), nn.ReLU(),
            nn.Dropout(),
        )  # fmt: skip
        up = {"upscore2": 2, "upscore_pool4": 2}
        self.score = nn.Conv2d(h, n, 1)
        if stride <= 16:
            self.score_pool4 = nn.Conv2d(d, n, 1)
        if stride == 8:
            self.score_pool3 = nn.Conv2d(int(256 * w), n, 1)
        for name in list(up)[: {32: 0, 16: 1, 8: 2}[stride]]:
            setattr(self, name, nn.ConvTranspose2d(n, n, 4, 2, 1, bias=False))
        self.upscore = nn.ConvTranspose2d(n, n, 2 * stride, stride, stride // 2, bias=False)

    def forward(self, x):
        pool3 = self.features[:17](x)
        pool4 = self.features[17:24](pool3)
        y = self.score(self.classifier(self.features[24:](pool4)))
        if self.stride <= 16:
            a = self.score_pool4(pool4)
            y = self.upscore2(y)[:, :, : a.shape[2], : a.shape[3]] + a
        if self.stride == 8:
            a = self.score_pool3(pool3)
            y = self.upscore_pool4(y)[:, :, : a.shape[2], : a.shape[3]] + a
        return self.upscore(y)[:, :, : x.shape[2], : x.shape[3]]


class WholeImage(nn.Sequential):
    def forward(self, x):
        return F.interpolate(super().forward(x), x.shape[2:], mode="bilinear")


class ASPP(nn.Module):
    def __init__(self, i, c, rates):
        super().__init__()
        whole = WholeImage(nn.AdaptiveAvgPool2d(1), *conv_norm(i, c, 1))
        self.convs = nn.ModuleList(
            [conv_norm(i, c, 1), *(conv_norm(i, c, 3, d=r) for r in rates), whole]
        )
        self.project = nn.Sequential(*conv_norm(c * len(self.convs), c, 1), nn.Dropout(0.5))

    def forward(self, x):
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


class DeepLab(nn.Module):
    def __init__(self, backbone, i, c, rates, n):
        super().__init__()
        self.backbone = backbone
        aspp = ASPP(i, c, rates)
        self.classifier = nn.Sequential(aspp, *conv_norm(c, c), nn.Conv2d(c, n, 1))

    def forward(self, x):
        y = self.classifier(self.backbone.maps(x))
        return F.interpolate(y, x.shape[2:], mode="bilinear")


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        act, line = nn.Sigmoid, nn.Linear
        self.encoder = nn.Sequential(line(784, 500), act(), line(500, 300), act(), line(300, 2))
        self.decoder = nn.Sequential(line(2, 300), act(), line(300, 500), act(), line(500, 784))

    def forward(self, x):
        return self.decoder(self.encoder(x))


class VAE(nn.Module):
    """``noise()`` gives the numbers of the next draw."""

    def __init__(self, latent, w, noise):
        super().__init__()
        self.noise = noise
        widths = [3, w, 2 * w, 4 * w]

        def down(i, o):
            conv = nn.Conv2d(i, o, 4, 2, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(o), nn.LeakyReLU(0.2))

        def up(i, o):
            conv = nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(o), nn.LeakyReLU(0.2))

        self.encoder = nn.Sequential(*(down(a, b) for a, b in pairwise(widths)))
        self.mean, self.log_variance = nn.Linear(64 * w, latent), nn.Linear(64 * w, latent)
        self.spread = nn.Linear(latent, 64 * w)
        last = nn.ConvTranspose2d(w, 3, 4, 2, 1)
        self.decoder = nn.Sequential(up(4 * w, 2 * w), up(2 * w, w), last)

    def forward(self, x):
        y = self.encoder(x).flatten(1)
        mean, log_variance = self.mean(y), self.log_variance(y)
        code = mean
        if self.training:
            code = mean + (log_variance / 2).exp() * torch.tensor(self.noise(tuple(mean.shape)))
        maps = self.spread(code).reshape(len(code), -1, 4, 4)
        return self.decoder(maps), mean, log_variance


class DCGAN(nn.Module):
    def __init__(self, *layers, shape):
        super().__init__()
        self.main, self.shape = nn.Sequential(*layers), shape

    def forward(self, x):
        return self.main(x.reshape(len(x), *self.shape[0])).reshape(len(x), *self.shape[1])


def generator(z, w):
    def up(i, o, *how):
        return nn.BatchNorm2d(i), nn.ReLU(), nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False)

    first = nn.ConvTranspose2d(z, 4 * w, 4, 1, 0, bias=False)
    layers = (first, *up(4 * w, 2 * w), *up(2 * w, w), *up(w, 3), nn.Tanh())
    return DCGAN(*layers, shape=((z, 1, 1), (3, 32, 32)))


def discriminator(w):
    def down(i, o):
        return nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2)

    first = nn.Conv2d(3, w, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)
    last = nn.Conv2d(4 * w, 1, 4, 1, 0, bias=False)
    return DCGAN(*first, *down(w, 2 * w), *down(2 * w, 4 * w), last, shape=((3, 32, 32), ()))


class CharRNN(nn.Module):
    def __init__(self, n, h, layers, cell=nn.LSTM):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(n, h), cell(h, h, layers)
        self.fc = nn.Linear(h, n)

    def forward(self, index):
        return self.fc(self.rnn(self.embedding(index))[0])


class SequenceRNN(nn.Module):
    def __init__(self, i, n, h, cell=nn.GRU):
        super().__init__()
        self.rnn, self.fc = cell(i, h), nn.Linear(h, n)

    def forward(self, x):
        return self.fc(self.rnn(x)[0][-1])


class Unit(nn.Module):
    def __init__(self, i, o, norm=True):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(i, o, 1), nn.Conv2d(o, o, 3, padding=1, groups=o)
        if norm:
            self.bn = nn.BatchNorm2d(o)

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        return relu(self.bn(y)) if hasattr(self, "bn") else y


class YuNet(nn.Module):
    def __init__(self, w):
        super().__init__()
        t, two = w // 4, nn.Sequential
        self.stem = two(nn.Conv2d(3, t, 3, 2, 1), nn.BatchNorm2d(t), nn.ReLU(), Unit(t, t))
        rest = (two(Unit(w, w), Unit(w, w)) for _ in range(4))
        self.stages = nn.ModuleList([two(Unit(t, t), Unit(t, w)), *rest])
        for name in ("lateral", "shared"):
            setattr(self, name, nn.ModuleList(Unit(w, w) for _ in range(3)))
        self.heads = nn.ModuleList(Unit(w, 16, norm=False) for _ in range(3))

    def forward(self, x):
        x = self.stages[0](F.max_pool2d(self.stem(x), 2))
        a = self.stages[2](F.max_pool2d(self.stages[1](x), 2))
        b = self.stages[3](F.max_pool2d(a, 2))
        c = self.lateral[2](self.stages[4](F.max_pool2d(b, 2)))
        b = self.lateral[1](b + F.interpolate(c, b.shape[2:]))
        a = self.lateral[0](a + F.interpolate(b, a.shape[2:]))
        return tuple(h(s(x)) for h, s, x in zip(self.heads, self.shared, (a, b, c), strict=True))
