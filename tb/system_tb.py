"""The system on chip from its UART pins: programs against the golden, and everything that can happen to a line."""

import random
import sys
from pathlib import Path

import cocotb
import numpy as np
from bench import config, start_clock
from cocotb.triggers import RisingEdge, Timer, with_timeout
from rowcast.registers import CAUSES, Error
from rowcast.soc import protocol
from rowcast.soc.protocol import Command, Status
from rowcast_models import graph as g
from rowcast_models.compiler.network import compile_graph
from rowcast_models.golden.evaluate import evaluate
from rowcast_models.zoo import digits, lenet5, to_int8
from rowcast_sim.host.backend import PortBackend
from rowcast_sim.host.device import DeviceError
from rowcast_sim.host.link import LinkError
from system_top import BAUD, CLOCK_HZ, MEMORY, QUIET
from uart_host import BadLine, UartLine, in_thread, open_device

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sim" / "test"))

from networks import convolution, inputs_of, requantisation  # noqa: E402

BITS_A_BYTE = 10
PING = protocol.request(Command.INFO_READ, sequence=77, address=0, length=0)


def small():
    """A convolution, a depthwise one, pooling, a fully connected layer."""
    rng = np.random.default_rng(8)
    tensors = [g.Tensor("x", (1, 8, 7, 3), -7, 0.1)] + [g.Tensor(name, None, 3, 0.1) for name in "abpy"]
    same = ((1, 1), (1, 1))
    pool = g.AveragePool if config().compact else g.MaxPool
    nodes = [
        convolution(rng, name="conv", source="x", output="a", channels=3, filters=16, kernel=(3, 3), padding=same),
        convolution(rng, name="depthwise", source="a", output="b", channels=16, filters=16, kernel=(3, 3), padding=same,
                    groups=16),
        pool(name="pool", inputs=("b",), output="p", window=(2, 2), stride=(2, 2)),
        g.FullyConnected(name="fc", inputs=("p",), output="y", weights=rng.integers(-127, 128, (10, 16 * 4 * 3)),
                         bias=rng.integers(-99, 99, 10), post=requantisation(rng, 10, 1 / 1900)),
    ]  # fmt: skip
    return g.Graph(name="small", tensors=tensors, inputs=["x"], outputs=["y"], nodes=nodes)


async def start(dut, wrap=lambda line: line):
    """(line, device) after the reset."""
    dut.rx.value = 1
    line = UartLine(dut)
    await start_clock(dut)
    return line, await open_device(wrap(line))


async def answers(line, count, seconds=200e-6):
    """What comes until so many bytes are there, and a little longer."""
    data = b""
    while len(data) < count and (more := await line.receive(seconds)):
        data += more
    return data + await line.receive(30e-6)


async def exchange(line, frame):
    """The status byte of the answer to a frame; None if there is none."""
    await line.send(frame)
    data = await answers(line, protocol.HEADER_BYTES + 6)
    if not data:
        return None
    assert data[0] == protocol.START_ANSWER and protocol.checksum(data[1:-4]) == data[-4:], data.hex(" ")
    return data[-5]


async def quiet():
    await Timer(round(1.2 * QUIET * 1e9), "ns")


@in_thread
def run_all(device, program, inputs):
    """Runs on the device; of the first one every tensor is read back, of the others the outputs."""
    runs = []
    for number, each in enumerate(inputs):
        with PortBackend(program, device=device, everything=number == 0) as backend:
            runs.append(backend.run(each))
    return runs


def check(run, want, program):
    """Every tensor, and what is known of the counters."""
    for name, tensor in run.tensors.items():
        np.testing.assert_array_equal(tensor, want[name], f"tensor {name}")
    counters = run.counters
    if config().compact:
        assert not any(counters.values())  # there are none
        return
    assert counters["cycles"] == sum(counters[f"cause_{cause}"] for cause in CAUSES) > 0
    assert counters["instructions"] == len(program.instructions)


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def small_network(dut):
    """Several inputs through a network of many kinds of nodes: all tensors are the golden's; the lights; the counters."""
    line, device = await start(dut)
    info, made = device.info, config()
    assert (info.memory_bytes, info.beat_bytes, info.clock_hz, info.baud) == (MEMORY, made.dram_bytes, CLOCK_HZ, BAUD)
    assert device.digest == made.digest()
    graph = small()
    program = compile_graph(graph, made, keep_all=True)
    inputs = [inputs_of(graph, np.random.default_rng(seed)) for seed in range(2)]
    task = cocotb.start_soon(run_all(device, program, inputs))
    await with_timeout(RisingEdge(dut.led_busy), 90, "ms")
    assert not dut.led_done.value
    runs = await task
    assert dut.led_done.value and not dut.led_busy.value and not dut.led_error.value
    for each, run in zip(inputs, runs, strict=True):
        check(run, evaluate(graph, each), program)
    assert set(runs[0].tensors) == set(program.tensors)
    assert runs[0].counters == runs[1].counters
    assert device.link.retries == 0


@cocotb.test(timeout_time=1000, timeout_unit="ms")
async def lenet(dut):
    """LeNet-5 whole, from the digit to the class."""
    _, device = await start(dut)
    images, labels = digits()
    graph = lenet5()
    program = compile_graph(graph, config())
    inputs = [{"image": to_int8(images[i : i + 1])} for i in range(2)]
    for each, label, run in zip(inputs, labels, await run_all(device, program, inputs), strict=False):
        check(run, evaluate(graph, each), program)
        assert run.tensors["OUT"].argmax() == label
        cocotb.log.info("class %d, %d cycles", label, run.cycles)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bad_program(dut):
    """An error stops the run, is named with its instruction, and the next run is good again."""
    _, device = await start(dut)
    graph = small()
    program, inputs = compile_graph(graph, config(), keep_all=True), inputs_of(graph, np.random.default_rng(3))

    @in_thread
    def fail():
        device.activate(program)
        device.write("READ_LIMIT", program.data_offset)
        device.start()
        try:
            device.wait(cycles=100_000)
        except DeviceError as error:
            return error
        raise AssertionError("no error")

    error = await fail()
    assert error.code is Error.READ_WINDOW
    assert f"instruction {error.index} ({program.instructions[error.index].name}): READ_WINDOW" in str(error)
    assert dut.led_error.value and not dut.led_done.value

    @in_thread
    def beyond():
        device.write("READ_LIMIT", program.size)
        try:
            device.link.read(Command.MEMORY_READ, MEMORY, 8)
        except LinkError as error:
            return error
        raise AssertionError("no error")

    assert "MEMORY_READ of 8 bytes at 0x20000" in str(await beyond())
    (run,) = await run_all(device, program, [inputs])
    check(run, evaluate(graph, inputs), program)
    assert dut.led_done.value and not dut.led_error.value


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def damaged_frames(dut):
    """Frames with flipped bits, cut, prolonged, amid noise: no effect, and the next good one is answered."""
    line, device = await start(dut)
    rng, codes = random.Random(5), set()
    before = await memory_of(device)
    for number in range(40):
        address = rng.randrange(0, 2048)
        data = rng.randbytes(min(rng.randint(1, 40), 256 - address % 256))
        frame = bytearray(protocol.request(Command.MEMORY_WRITE, sequence=number, address=address, payload=data))
        kind = ("flip", "cut", "lose", "noise", "break")[number % 5]
        place = rng.randrange(1, len(frame))
        if kind == "flip":
            frame[place] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del frame[place:]
        elif kind == "lose":
            del frame[place]
        elif kind == "noise":
            # a start byte in front swallows what follows
            frame = bytearray(rng.randbytes(5)) + bytes([protocol.START_REQUEST]) + frame[:-1] + bytes([frame[-1] ^ 255])
        if kind == "break":
            await line.send(frame[:place])
            dut.rx.value = 0
            await Timer(30 * BITS_A_BYTE * 10**9 // BAUD // 10, "ns")
            dut.rx.value = 1
            await Timer(4 * 10**9 // BAUD, "ns")
        else:
            await line.send(frame)
            data = await line.receive(60e-6)
            while more := await line.receive(20e-6):
                data += more
            if data and kind != "noise":
                codes.add(data[-5] & 7)
            await quiet()
            line.sink.clear()
        assert await exchange(line, PING) == Status.OK, (kind, number)
    assert codes == {Status.CHECKSUM, Status.RANGE}
    assert await memory_of(device) == before


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def repeated_start(dut):
    """A request that comes twice is done once: a second `start` would begin a second run."""
    line, device = await start(dut)
    graph = small()
    program = compile_graph(graph, config())
    inputs = inputs_of(graph, np.random.default_rng(1))

    @in_thread
    def prepare():
        device.activate(program)
        for name, values in inputs.items():
            offset, data = program.input_bytes(name, values)
            device.write_memory(offset, data)

    await prepare()
    assert await exchange(line, PING) == Status.OK  # so that the number of the next request is another one
    frame = protocol.request(Command.REGISTER_WRITE, sequence=200, address=12, payload=b"\1\0\0\0")
    await line.send(frame)
    await RisingEdge(dut.led_done)
    await answers(line, 14)
    line.sink.clear()
    assert await exchange(line, frame) & 7 == Status.OK
    assert await exchange(line, PING) == Status.OK | 1 << protocol.INTERRUPT_BIT
    assert dut.led_done.value and not dut.led_busy.value


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def bad_line(dut):
    """The driver gets everything through a line that damages one frame in eight, in both directions."""
    line, device = await start(dut, lambda line: BadLine(line, share=0.12, seed=4))
    data = random.Random(6).randbytes(6000)

    @in_thread
    def use():
        device.write_memory(1000, data)
        return device.read_memory(1000, len(data)).tobytes()

    assert await use() == data
    bad = device.link.transport
    assert bad.damaged >= 3 and device.link.retries >= 3, (bad.damaged, device.link.retries)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def silent_device(dut):
    """A device in reset: the driver says what to look at."""
    line, device = await start(dut)
    dut.rst.value = 1

    @in_thread
    def ask():
        try:
            device.link.ping()
        except LinkError as error:
            return error
        raise AssertionError("an answer")

    assert "does not answer" in str(await ask()) and "--baud" in str(await ask())


async def memory_of(device):
    """The first 2.5 KiB."""

    @in_thread
    def read():
        return device.read_memory(0, 2560).tobytes()

    return await read()
