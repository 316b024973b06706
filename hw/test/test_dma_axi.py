"""ReadArbiter with two clients and a memory that answers the two IDs in any order; the flat port lists."""

import random
from collections import deque

import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from rowcast.axi import (
    FETCH_ID, LOAD_ID, ReadArbiter, join_manager, lite_ports, manager_ports, read_channels, write_channels,
)  # fmt: skip
from rowcast.config import Config


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_read_arbiter(stall):
    rng, dut, total = random.Random(1), ReadArbiter(Config()), 60
    clients = {FETCH_ID: (dut.fetch_ar, dut.fetch_r), LOAD_ID: (dut.load_ar, dut.load_r)}
    asked = {number: deque(range(total)) for number in clients}
    memory = {number: deque() for number in clients}
    got = {number: [] for number in clients}
    expected = {number: [] for number in clients}
    order, beats = [], []
    go = lambda: rng.random() >= stall  # noqa: E731

    async def testbench(ctx):
        offered, answer, stand = set(), None, None
        for cycle in range(4000):
            for number, (ar, r) in clients.items():
                if asked[number] and (number in offered or go()):
                    offered.add(number)
                    count = asked[number][0]
                    ctx.set(ar.payload, {"addr": (number << 16) + count * 64, "len": 1 + count % 5})
                ctx.set(ar.valid, number in offered)
                ctx.set(r.ready, go())
            ctx.set(dut.ar.ready, go())
            if answer is None and go():
                number = rng.choice([n for n in clients if memory[n]] or [None])
                answer = None if number is None else (number, *memory[number].popleft())
            if answer is not None:
                ctx.set(dut.r.payload, dict(zip(("id", "data", "resp", "last"), answer)))
            ctx.set(dut.r.valid, answer is not None)
            sampled = [dut.ar.valid, dut.ar.ready, dut.ar.payload, dut.r.ready]
            for ar, r in clients.values():
                sampled += [ar.ready, r.valid, r.ready, r.payload]
            _, _, valid, ready, burst, r_ready, *sides = await ctx.tick().sample(*sampled)
            now = (burst.id, burst.addr, burst.len) if valid else None
            assert stand is None or stand == now
            stand = None if ready else now
            if valid and ready:
                order.append(burst.id)
                for beat in range(burst.len + 1):
                    item = (burst.addr + beat, beat % 4, int(beat == burst.len))
                    memory[burst.id].append(item)
                    expected[burst.id].append(item)
            if answer is not None and r_ready:
                answer = None
            for number in clients:
                ar_ready, r_valid, r_taken, beat = sides[4 * number : 4 * number + 4]
                if number in offered and ar_ready:
                    offered.discard(number)
                    asked[number].popleft()
                if r_valid and r_taken:
                    got[number].append((beat.data, beat.resp, beat.last))
                    beats.append(cycle)
            if not any(asked.values()) and not any(memory.values()) and answer is None and not valid:
                for ar, r in clients.values():
                    ctx.set(r.ready, 1)
                if len(beats) == sum(map(len, expected.values())):
                    return

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    assert len(order) == 2 * total and got == expected
    if not stall:  # fetch first, a beat a cycle
        assert order == [FETCH_ID] * total + [LOAD_ID] * total
        assert beats[-1] - beats[0] == len(beats) - 1


class Manager(wiring.Component):
    def __init__(self, config):
        self.config = config
        ar, r = read_channels(config, id_width=1).values()
        channels = {"ar": ar.flip(), "r": r.flip(), **{k: v.flip() for k, v in write_channels(config).items()}}
        super().__init__({**manager_ports(config), **channels})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += join_manager(self.config, self, ar=self.ar, r=self.r, aw=self.aw, w=self.w, b=self.b)
        return m


def test_manager_ports():
    config = Config(dram_bytes=32, address_width=40)
    dut = Manager(config)
    text = rtlil.convert(dut)
    for name in manager_ports(config):
        assert f"\\{name}\n" in text, name

    async def testbench(ctx):
        ctx.set(dut.ar.payload, {"id": 1, "addr": 0x12_3456_7800, "len": 7})
        ctx.set(dut.aw.valid, 1)
        ctx.set(dut.w.payload.strb, 0xF0F0_0001)
        ctx.set(dut.m_axi_rdata, 1 << 255)
        ctx.set(dut.m_axi_bresp, 2)
        await ctx.delay(1e-9)
        assert ctx.get(dut.m_axi_arid) == 1 and ctx.get(dut.m_axi_araddr) == 0x12_3456_7800
        assert ctx.get(dut.m_axi_arlen) == 7 and ctx.get(dut.m_axi_arsize) == 5 and ctx.get(dut.m_axi_arburst) == 1
        assert ctx.get(dut.m_axi_awvalid) and not ctx.get(dut.m_axi_arvalid)
        assert ctx.get(dut.m_axi_wstrb) == 0xF0F0_0001
        assert ctx.get(dut.r.payload.data) == 1 << 255 and ctx.get(dut.b.payload.resp) == 2

    sim = Simulator(dut)
    sim.add_testbench(testbench)
    sim.run()


def test_lite_ports():
    ports = lite_ports(12)
    assert ports["s_axil_awaddr"] == In(12) and ports["s_axil_rdata"] == Out(32)
    assert len(ports) == 19 and ports["s_axil_bready"] == In(1)
