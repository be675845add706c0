"""Fully connected autoencoder, 784-500-300-2 and back.

It can be pre-trained layer by layer: each pair of layers learns to reconstruct the output of the
layers below, then all are trained together. Codes can be kept sparse, by their magnitude (L1) or by
the KL divergence of their mean activation from a small target.

References: Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks,
Science 313, 2006; Bengio et al., Greedy layer-wise training of deep networks, NIPS 2006; Ng, Sparse
autoencoder, CS294A lecture notes, 2011.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from nets.autograd.ops import arithmetic
from nets.autograd.tensor import Tensor
from nets.nn.layers import Linear, Module, ReLU, Sequential, Sigmoid, Tanh
from vj.errors import NetError

FUNCTIONS = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU}


class Autoencoder(Module):
    """Fully connected autoencoder.

    Parameters
    ----------
    sizes : sequence of int
        Sizes of the input, the hidden layers and the code.
    activation : "sigmoid", "tanh" or "relu"
        After each layer except the code and the output, which are linear (the output serves as
        logits for binary cross-entropy, or as values for squared error).

    Attributes
    ----------
    encoder, decoder : Sequential
    """

    def __init__(
        self, sizes: Sequence[int] = (784, 500, 300, 2), *, activation: str = "sigmoid"
    ) -> None:
        if len(sizes) < 2 or activation not in FUNCTIONS:
            raise NetError(
                f"Autoencoder: `sizes` must be two or more, `activation` one of "
                f"{', '.join(FUNCTIONS)}: got {sizes}, {activation!r}"
            )
        self.encoder = _stack(sizes, FUNCTIONS[activation])
        self.decoder = _stack(sizes[::-1], FUNCTIONS[activation])

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct (N, ...); images are flattened."""
        return self.decode(self.encode(x)).reshape(*x.shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (N, sizes[-1]) of inputs (N, ...)."""
        return self.encoder(x.reshape(len(x), -1))

    def decode(self, code: Tensor) -> Tensor:
        """Return the reconstructions (N, sizes[0]) of codes (N, sizes[-1])."""
        return self.decoder(code)

    def layerwise(self) -> Iterator[tuple[Module, Autoencoder]]:
        """Iterate over pairs for each layer: the layers before it, and its own autoencoder.

        The second shares its weights with this model and is trained on the output of the first,
        which stays frozen.
        """
        layers, back = list(self.encoder), list(self.decoder)
        for i in range(0, len(layers), 2):
            alone = Autoencoder.__new__(Autoencoder)
            alone.encoder = Sequential(*layers[i : i + 2])
            at = len(back) - 1 - i
            alone.decoder = Sequential(*back[at : at + 2])
            yield Sequential(*layers[:i]), alone


def l1_sparsity(code: Tensor) -> Tensor:
    """Mean magnitude of a code, an L1 sparsity penalty."""
    return arithmetic.absolute(code).mean()


def kl_sparsity(code: Tensor, share: float = 0.05) -> Tensor:
    """KL divergence of each unit's batch mean from a target, summed over the units.

    Parameters
    ----------
    code : (N, units)
        Values from 0 to 1, as after a sigmoid.
    share : float
        Target mean activation, strictly between 0 and 1.
    """
    if not 0 < share < 1:
        raise NetError(f"kl_sparsity: `share` must be between 0 and 1, got {share}")
    mean = arithmetic.clip(code.mean(0), low=1e-6, high=1 - 1e-6)
    on, off = share / mean, (1 - share) / (1 - mean)
    return (arithmetic.log(on) * share + arithmetic.log(off) * (1 - share)).sum()


def _stack(sizes: Sequence[int], function: type[Module]) -> Sequential:
    """Return linear layers with an activation between them."""
    layers: list[Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs), function()]
    return Sequential(*layers[:-1])
