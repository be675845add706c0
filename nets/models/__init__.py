"""Network architectures, one file each, compatible with torchvision's state dicts."""

from nets.models.alexnet import AlexNet
from nets.models.autoencoder import Autoencoder
from nets.models.dcgan import Discriminator, Generator
from nets.models.deeplab import DeepLab
from nets.models.fcn import FCN
from nets.models.lenet import LeNet5
from nets.models.mobilenet import MobileNetV1, MobileNetV2, mobilenet_v1, mobilenet_v2
from nets.models.recurrent import CharRNN, SequenceRNN
from nets.models.resnet import ResNet, resnet18, resnet34, resnet50
from nets.models.vae import VAE
from nets.models.vgg import VGG, vgg16, vgg16_bn, vgg19, vgg19_bn
from nets.models.yunet import YuNet

__all__ = [
    "FCN",
    "VAE",
    "VGG",
    "AlexNet",
    "Autoencoder",
    "CharRNN",
    "DeepLab",
    "Discriminator",
    "Generator",
    "LeNet5",
    "MobileNetV1",
    "MobileNetV2",
    "ResNet",
    "SequenceRNN",
    "YuNet",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
