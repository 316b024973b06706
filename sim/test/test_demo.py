"""The demo on compiled RTL, and the reports."""

import re

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from rowcast_models.zoo import digits
from rowcast_sim import demo, report
from rowcast_sim.cli import main
from rowcast.registers import CAUSES
from rowcast_sim.verilated import LayerCycles

ARGUMENTS = ["demo", "--preset", "tiny", "--digits", "2"]


def numbers(text):
    """Whole numbers in a line of a table."""
    return [int(word.replace(",", "")) for word in re.findall(r"(?<![\w.])\d[\d,]*(?![\w.%])", text)]


def test_demo():
    """Two digits on the smallest hardware: every tensor equal, cycles of layers and of causes sum to the total."""
    result = CliRunner().invoke(main, ARGUMENTS)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert re.fullmatch(
        "14 of 14 tensors of 2 digits equal the golden bit for bit; [012] of 2 classified correctly.", lines[-1]
    )
    layers = [line for line in lines if re.match(r"(C1|S2|C3|S4|C5|F6|OUT) ", line)]
    assert len(layers) == 7 and all(line.rstrip().endswith("2/2") for line in layers)
    (everything,) = (numbers(line) for line in lines if line.startswith("all "))
    assert everything[0] == 416_520
    total = everything[1]
    assert sum(numbers(line)[-3] for line in layers) == total  # then come 2 and 2 of "2/2"
    causes = [numbers(line)[0] for line in lines if line.split() and line.split()[0] in CAUSES]
    assert sum(causes) == total
    assert result.stdout.count(f"{total:,} cycles") == 2
    assert "\x1b" not in result.output


def test_demo_reports_a_difference(monkeypatch):
    evaluate = demo.evaluate

    def wrong(graph, inputs):
        values = evaluate(graph, inputs)
        values["C3"][1, 9, 8, 7] ^= 4
        return values

    monkeypatch.setattr(demo, "evaluate", wrong)
    result = CliRunner().invoke(main, ARGUMENTS)
    assert result.exit_code == 1
    assert "First difference: digit 2: tensor 'C3': 1 of 1600 elements differ, first at [0, 9, 8, 7]" in result.stdout
    assert "13 of 14 tensors of 2 digits equal" in result.stdout
    assert re.search(r"^C3 .* 1/2\s*$", result.stdout, re.MULTILINE)


def shown(renderable, **options):
    """What a console prints."""
    console = Console(**{"width": 80, "color_system": None, **options})
    with console.capture() as capture:
        console.print(renderable if not callable(renderable) else renderable(console))
    return capture.get()


def test_picture():
    image = np.array([[0, 255, 0, 255], [0, 0, 255, 255], [200, 0, 0, 0]], np.uint8)
    assert report.picture(image, grey=False).plain == " ▀▄█\n▀   "
    assert report.picture(image, grey=False, ascii_only=True).plain == " '.#\n'   "
    grey = shown(report.picture(image, grey=True), color_system="truecolor", force_terminal=True)
    assert "38;2;255;255;255;48;2;0;0;0m▀" in grey and "38;2;200;200;200" in grey


@pytest.mark.parametrize("width, per_row", [(20, 1), (80, 3), (220, 8)])
def test_gallery_fits_the_width(width, per_row):
    images, _ = digits()
    captions = [Text(f"class {i}, label {i}\n1 cycles") for i in range(8)]
    text = shown(lambda console: report.gallery(console, images[:8], captions), width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[next(i for i, line in enumerate(lines) if "class" in line)].count("class") == per_row
    assert text.count("class") == 8


def test_crop_box():
    images = np.zeros((2, 28, 28), np.uint8)
    assert report.crop_box(images) == (slice(0, 2), slice(0, 1))
    images[0, 5, 7] = images[1, 11, 20] = 255
    y, x = report.crop_box(images)
    assert (y.stop - y.start) % 2 == 0 and y.start <= 5 and y.stop >= 12 and (x.start, x.stop) == (7, 21)
    images[0, 0, 0] = 255
    assert report.crop_box(images)[0].start == 0


@pytest.mark.parametrize("causes, beats, utilisation, want", [
    ({"computing": 90, "load": 10}, 20, 0.8, "MACs"),
    ({"computing": 90, "load": 10}, 20, 0.1, "idle MACs"),
    ({"computing": 90, "load": 10}, 85, 0.1, "DRAM"),
    ({"computing": 10, "drain": 90}, 0, 0.1, "drain"),
    ({}, 0, 0, "done meanwhile"),
    ({"drain": 1}, 0, 0, "done meanwhile"),
])  # fmt: skip
def test_bound(causes, beats, utilisation, want):
    assert report.bound(LayerCycles.of(causes, read_beats=beats), utilisation) == want
