"""Random models of both formats on the RTL, every tensor; `rowcast bench property` runs hundreds."""

import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing: pip install 'rowcast[check]'")
pytest.importorskip("ai_edge_litert", reason="LiteRT is missing: pip install 'rowcast[check]'")

from click.testing import CliRunner  # noqa: E402
from rowcast_sim.bench import property as property_bench  # noqa: E402
from rowcast_sim.bench.mnist import FORMS, measure  # noqa: E402
from rowcast_sim.bench.random_models.compare import FORMATS, Difference, compare_hardware, random_case  # noqa: E402
from rowcast_sim.verilated import build  # noqa: E402

CONFIGS = property_bench.CONFIGS


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", ["base", "odd"])
def test_random_models_on_the_rtl(format_, name):
    model = build(CONFIGS[name], quiet=True)
    compared = sum(compare_hardware(random_case(format_, seed, 1 + seed % 6), CONFIGS[name], model=model)[0] for seed in range(10))
    assert compared >= 10


@pytest.mark.parametrize("format_", FORMATS)
def test_random_models_in_random_order(format_):
    for seed in range(100, 112):
        compare_hardware(random_case(format_, seed, 1 + seed % 6), CONFIGS["tiny"], backend="functional")


def test_runs_are_shared_out_evenly():
    made = property_bench.runs(FORMATS, 21, 6, 0)
    assert len(made) == 21 == len({each[:3] for each in made})
    assert [sum(each[0] == name for each in made) for name in FORMATS] == [11, 10]
    assert sum(each[3] is not None for each in made) == 6 and {each[3] for each in made} == {None, *CONFIGS}
    assert made == property_bench.runs(FORMATS, 21, 6, 0) != property_bench.runs(FORMATS, 21, 6, 1)


def test_a_difference_says_how_to_see_it_again(monkeypatch):
    case = random_case("tflite", 5, 2)

    def differs(*_):
        raise Difference("CONV_2D 'c', golden: 1 of 9 differ", case)

    monkeypatch.setattr(property_bench, "compare", differs)
    result = CliRunner().invoke(property_bench.property_, ["--graphs", "1", "--rtl", "0", "--format", "tflite"])
    assert result.exit_code == 1
    assert "1 of 9 differ" in result.stderr and "--format tflite --only 5 2" in " ".join(result.stderr.split())


@pytest.mark.parametrize("form, activations", FORMS[:2])
def test_mnist_on_the_rtl(form, activations):
    pytest.importorskip("qonnx", reason="qonnx, which carries mnist-8, is missing: pip install qonnx")
    found = measure(form, activations, items=20, rtl=20)
    assert (found.operators_differ, found.graph_differs) == (0, 0)
    assert found.rtl_equal == found.rtl_tensors >= 10 and found.right >= 19
