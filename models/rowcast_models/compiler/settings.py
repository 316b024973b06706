"""What lowerings share: where tensors live, how results are scaled, the feeder's loops."""

from dataclasses import dataclass, replace

__all__ = ["Place", "PostSettings", "set_loops"]


@dataclass(frozen=True)
class Place:
    """Where a tensor lives: in activation memory, in memory, or in both; addresses in words.

    `pitch`: words from one pixel to the next, 0 if there is nothing between them.
    """

    act: int | None = None
    dram: int | None = None
    pitch: int = 0

    def moved(self, words):
        """The place so many words further."""
        act, dram = (None if at is None else at + words for at in (self.act, self.dram))
        return replace(self, act=act, dram=dram)


@dataclass(frozen=True)
class PostSettings:
    """The POST_SET of a layer."""

    mode: int
    zero_point: int
    low: int
    high: int
    table: object = None


def set_loops(builder, levels, *, padded=True):
    """IFMAP_LOOP settings from levels (turns, distance as (words, rows, columns)), innermost first."""
    fields, travelled = [], (0, 0, 0)
    for turns, distance in levels:
        step = tuple(d - t for d, t in zip(distance, travelled, strict=True)) if turns > 1 else (0, 0, 0)
        fields.append((turns, step))
        travelled = tuple(t + (turns - 1) * d for t, d in zip(travelled, distance, strict=True))
    for pair in range(3):
        (count_a, a), (count_b, b) = fields[2 * pair], fields[2 * pair + 1]
        scale = 1 if padded else 0
        builder.setting(
            pair, "IFMAP_LOOP", pair=pair,
            count_a=count_a, step_a=a[0], dy_a=a[1] * scale, dx_a=a[2] * scale,
            count_b=count_b, step_b=b[0], dy_b=b[1] * scale, dx_b=b[2] * scale,
        )  # fmt: skip
