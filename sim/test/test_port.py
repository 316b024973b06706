"""The host's side of a device: frames, a link over a bad line, programs, and `rowcast run --port`."""

import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rowcast import PRESETS
from rowcast.registers import COUNTERS, Error
from rowcast.soc import protocol
from rowcast.soc.protocol import Command, Status
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import NETWORKS, digits, lenet5, to_int8
from rowcast_sim.cli import main
from rowcast_sim.errors import InputError
from rowcast_sim.host import Device, DeviceError, Link, LinkError
from rowcast_sim.host.backend import PortBackend
from rowcast_sim.host.frames import AnswerReader
from rowcast_sim.host.link import Patience

sys.path.insert(0, str(Path(__file__).parent))

from device_twin import CYCLES, MemoryLine, TwinDevice, at_a_port  # noqa: E402
from networks import inputs_of, single  # noqa: E402

TINY = PRESETS["tiny"]


def device_of(twin, **options):
    return Device(MemoryLine(twin.twin, **options), patience=Patience(attempts=12))


def small(seed):
    return single(np.random.default_rng(seed), (1, 5, 6, 9), filters=12, kernel=(3, 3))


# Frames and the link -------------------------------------------------------------------------------------------------


def test_answers_amid_noise():
    """Answers are found whatever is between them and however they come in pieces."""
    rng = random.Random(1)
    for _ in range(50):
        wanted, stream = [], b""
        for number in range(6):
            payload = rng.randbytes(rng.choice((0, 1, 40)))
            frame = protocol.answer(2, sequence=number, address=rng.getrandbits(32), status=0x30, payload=payload)
            if rng.random() < 0.3:
                frame = frame[: rng.randrange(len(frame))]  # cut; a long one after it must not be swallowed
                stream += frame + bytes(60)
                continue
            wanted.append((number, payload))
            noise = bytes(byte for byte in rng.randbytes(rng.randrange(9)) if byte != protocol.START_ANSWER)
            stream += noise + frame
        reader, found = AnswerReader(64), []
        stream += bytes(80)
        while stream:
            size = rng.randrange(1, 20)
            found += reader.feed(stream[:size])
            stream = stream[size:]
        assert [(answer.sequence, answer.payload) for answer in found] == wanted
        assert all(answer.interrupt and answer.running and answer.code is Status.OK for answer in found)


def test_the_page_has_a_true_example():
    page = (Path(__file__).parents[2] / "docs" / "bridge.md").read_text()
    frames = re.findall(r"^ {4}((?:[0-9A-F]{2} ?)+)$", page, re.MULTILINE)
    request, answer = (bytes.fromhex(frame) for frame in frames)
    assert request == protocol.request(Command.REGISTER_READ, sequence=7, address=0, length=4)
    assert TwinDevice(TINY, 4096).twin.feed(request) == answer


@pytest.mark.parametrize("damage", [0.0, 0.1])
def test_memory_through_a_bad_line(damage):
    """Any place and size, read and written."""
    twin, rng = TwinDevice(TINY, 8192), random.Random(2)
    device = device_of(twin, damage=damage, seed=3)
    want = bytearray(twin.bytes.tobytes())
    for _ in range(40):
        address, size = rng.randrange(8192), rng.choice((1, 7, 8, 100, 700))
        size = min(size, 8192 - address)
        data = rng.randbytes(size)
        device.write_memory(address, data)
        want[address : address + size] = data
        start = rng.randrange(8192)
        assert device.read_memory(start, min(900, 8192 - start)).tobytes() == want[start : start + 900]
    assert twin.bytes.tobytes() == want
    assert (device.link.retries > 10) == bool(damage)


def test_lost_answer_starts_no_second_run():
    """The request is repeated, and the device knows it."""
    twin = TwinDevice(TINY, 65536)
    device, program = device_of(twin), compile_graph(small(1), TINY)
    device.activate(program)
    device._stop()
    device.link.transport.drop_answers = 3
    device.write("CONTROL", 1)
    assert twin.starts == 1 and device.link.retries == 3


def test_a_frame_of_another_program():
    """What another program left half sent is forgotten after the pause that follows the first failure."""
    twin = TwinDevice(TINY, 4096)
    line = MemoryLine(twin.twin)
    line.write(protocol.request(Command.MEMORY_WRITE, sequence=1, address=0, payload=bytes(100))[:50])
    before = twin.bytes.copy()
    device = Device(line)
    assert device.link.retries == 1
    np.testing.assert_array_equal(twin.bytes, before)


def test_link_problems():
    twin = TwinDevice(TINY, 4096)
    device = Device(MemoryLine(twin.twin), patience=Patience(attempts=3))
    with pytest.raises(LinkError, match="the device's bus answered with an error: MEMORY_READ of 4 bytes at 0x1000"):
        device.link.read(Command.MEMORY_READ, 4096, 4)
    with pytest.raises(LinkError, match="the device refuses REGISTER_READ of 4 bytes at 0x2000: RANGE"):
        device.link.read(Command.REGISTER_READ, 8192, 4)
    with pytest.raises(ValueError, match="memory has 4096 bytes, 0xffe to 0x1002 is not inside"):
        device.write_memory(4094, bytes(4))
    with pytest.raises(ValueError, match="IRQ_ENABLE has 32 bits, 0x100000000 does not fit"):
        device.write("IRQ_ENABLE", 1 << 32)
    device.link.transport.deaf = True
    with pytest.raises(LinkError, match="does not answer .* sent 3 times at 1000000 baud"):
        device.link.ping()
    with pytest.raises(LinkError, match="the line is too bad: INFO_READ of 16 bytes at 0x0 arrived damaged 5 times"):
        Link(Flipper(twin.twin))
    with pytest.raises(LinkError, match="the device speaks version 9 of the protocol, this driver version 1"):
        Link(MemoryLine(TwinDevice(TINY, 4096, version=9).twin))
    twin.values["ID"] = 5
    with pytest.raises(LinkError, match="register ID is 0x00000005, not 0x43574f52: this is no accelerator"):
        device_of(twin)


class Flipper(MemoryLine):
    """Every request arrives damaged."""

    def write(self, data):
        super().write(data[:-1] + bytes([data[-1] ^ 1]))


# Programs and runs ---------------------------------------------------------------------------------------------------


def test_two_programs_in_turn():
    """Side by side where there is room; where there is not, each is loaded again when it is its turn."""
    programs = [(graph := small(seed), compile_graph(graph, TINY, keep_all=True)) for seed in (1, 2)]
    sizes = [program.size for _, program in programs]
    for memory, loads in ((sum(sizes), 2), (max(sizes), 6)):
        twin = TwinDevice(TINY, memory)
        device = device_of(twin)
        written = []
        write = device.write_memory
        device.write_memory = lambda at, data, write=write, **more: (written.append(len(data)), write(at, data, **more))
        for turn in range(3):
            for graph, program in programs:
                inputs = inputs_of(graph, np.random.default_rng(turn))
                run = PortBackend(program, device=device, everything=True).run(inputs)
                want = evaluate(graph, inputs)
                assert set(run.tensors) == set(program.tensors)
                for name, tensor in run.tensors.items():
                    np.testing.assert_array_equal(tensor, want[name], name)
                assert set(run.counters) == set(COUNTERS) and run.cycles == CYCLES
        codes = {len(program.code) for _, program in programs}
        assert sum(size in codes for size in written) == loads


def test_device_errors():
    graph = small(1)
    program = compile_graph(graph, TINY)
    inputs = inputs_of(graph, np.random.default_rng(0))
    with pytest.raises(InputError, match=rf"configuration {PRESETS['small'].digest():08x} \(preset small\), the program is "
                       rf"for {TINY.digest():08x} \(preset tiny\)"):  # fmt: skip
        PortBackend(program, device=device_of(TwinDevice(PRESETS["small"], 65536)))
    with pytest.raises(InputError, match=f"needs {program.size:,} bytes of memory .* the device has 4,096"):
        PortBackend(program, device=device_of(TwinDevice(TINY, 4096))).run(inputs)
    twin = TwinDevice(TINY, 65536, fail_at=3)
    backend = PortBackend(program, device=device_of(twin))
    for _ in range(2):  # the second one after a soft reset
        name = program.instructions[3].name
        with pytest.raises(DeviceError, match=rf"stopped at instruction 3 \({name}\): BUFFER_RANGE") as caught:
            backend.run(inputs)
        assert (caught.value.code, caught.value.index) == (Error.BUFFER_RANGE, 3)
    twin.fail_at = None
    np.testing.assert_array_equal(backend.run(inputs).tensors["y"], evaluate(graph, inputs)["y"])
    twin.hang = True
    seen = []
    with pytest.raises(DeviceError, match="no interrupt in 5,000,000 cycles; STATUS 0x1, QUEUES 0x0"):
        backend.run(inputs, limit=5_000_000, progress=lambda cycles, layer: seen.append((cycles, layer)))
    assert seen and set(seen) == {(CYCLES, 0)}


# The command line ----------------------------------------------------------------------------------------------------


def rowcast(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments, match):
    result = rowcast("run", "lenet5", "--preset", "tiny", *arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert re.search(match, result.stderr), result.stderr


@pytest.fixture
def images(tmp_path):
    np.save(tmp_path / "images.npy", digits()[0][:2])
    return tmp_path / "images.npy"


def test_run_at_a_port(images, tmp_path):
    """Digits through LeNet-5 on a device at a serial port, with every tensor compared."""
    target = tmp_path / "y.npy"
    with at_a_port(TwinDevice(TINY, 128 * 1024, payload=512)) as port:
        result = rowcast(
            "run", "lenet5", "--input", images, "--output", target, "--port", port, "--preset", "tiny", "--check"
        )
    assert result.exit_code == 0, (result.output, result.exception)
    assert re.search(r"14 of 14 tensors equal the golden bit for bit", result.stdout), result.stdout
    assert "1,000" in result.stdout  # cycles
    want = evaluate(lenet5(), {"image": to_int8(digits()[0][:1])})["OUT"]
    np.testing.assert_array_equal(np.load(target)[:1], want)


def test_model_at_a_port(tmp_path):
    """A model from a file, on the same device."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is missing: pip install rowcast[check]")
    model, inputs = tmp_path / "lenet5.onnx", tmp_path / "x.npy"
    NETWORKS["lenet5"].export(model)
    np.save(inputs, np.transpose(to_int8(digits()[0][:1]), (0, 3, 1, 2)))
    with at_a_port(TwinDevice(TINY, 128 * 1024, payload=512)) as port:
        result = rowcast("run", model, "--input", inputs, "--port", port, "--preset", "tiny", "--check")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "device = graph" in result.stdout and "1,000 cycles" in result.stdout


def test_refused_at_a_port(images, tmp_path):
    given = ("--input", images, "--port")
    refused(*given, tmp_path / "ttyUSB9", match="ttyUSB9: there is no such port")
    refused(*given, "x", "--backend", "golden", match="--port and --backend exclude each other")
    refused("--input", images, "--baud", "9600", match="--baud belongs to --port")
    refused(*given, "x", "--trace", tmp_path / "t.json", match="--trace shows the RTL, not the backend port")
    with at_a_port(TwinDevice(PRESETS["small"], 65536)) as port:
        refused(*given, port, match=r"device has configuration .* \(preset small\), the program is for .* \(preset tiny\)")
    with at_a_port(TwinDevice(TINY, 65536)) as port:
        refused(*given, port, match="the program needs [0-9,]+ bytes of memory .* the device has 65,536")


def test_no_answer_at_a_port(images, monkeypatch):
    short = {"answer": 0.05, "quiet": 0.05, "poll": 0.01, "attempts": 2}
    monkeypatch.setattr(Patience, "__init__", lambda self: self.__dict__.update(short))
    with at_a_port(None) as port:
        refused("--input", images, "--port", port, "--baud", "115200",
                match="does not answer .*sent 2 times at 115200 baud.*: is this the board's UART .* bitstream")  # fmt: skip


def test_missing_pyserial(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    refused("--input", images, "--port", "/dev/ttyUSB0", match=r"--port needs pyserial: pip install 'rowcast\[fpga\]'")
