"""Seeded images that look a little like photographs: noise of every coarseness, and not of single pixels only."""

import numpy as np

__all__ = ["IMAGE_SCALE", "IMAGE_ZERO_POINT", "pixels_to_int8", "random_images"]

MEAN, DEVIATION = 117, 40  # of pixels; black is 2.9 deviations below, white 3.4 above
IMAGE_ZERO_POINT = MEAN - 128
IMAGE_SCALE = 1 / DEVIATION
COARSENESS = (1, 2, 4, 8, 16, 32, 64)  # pixels of a block


def random_images(count, shape, *, seed=0):
    """Images, uint8 [count, H, W, C], of mean 117 and deviation 40: blocks of 1, 2, 4, ... 64 pixels of one random value,
    all sizes summed."""
    height, width, channels = shape
    rng = np.random.default_rng(seed)
    total = np.zeros((count, *shape), np.float32)
    for size in COARSENESS:
        blocks = rng.standard_normal((count, -(-height // size), -(-width // size), channels), np.float32)
        total += blocks.repeat(size, axis=1).repeat(size, axis=2)[:, :height, :width]
    return np.clip(np.rint(total * (DEVIATION / len(COARSENESS) ** 0.5) + MEAN), 0, 255).astype(np.uint8)


def pixels_to_int8(images):
    """Pixels, uint8, as the networks take them: int8, pixel - 128."""
    return (images.astype(np.int16) - 128).astype(np.int8)
