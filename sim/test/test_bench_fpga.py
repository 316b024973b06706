"""The tables of `rowcast bench fpga`, of placements made by hand."""

import sys
from pathlib import Path

import pytest
import rowcast_sim.bench.fpga  # noqa: F401  (the package has a command of this name)
from rowcast.boards import BOARDS
from rowcast_sim.bitstream.flow import Bitstream, Placement

fpga = sys.modules["rowcast_sim.bench.fpga"]


def figures(name, *, mhz, used, speeds):
    board = BOARDS[name]
    cells = (fpga.LUT_CELLS[board.device.family], board.device.block_ram_cell)
    placements = tuple(
        Placement(seed, value, 100.0, dict.fromkeys(cells, used), dict.fromkeys(cells, 83_640), f"seed{seed}")
        for seed, value in enumerate(mhz, 1)
    )
    made = Bitstream(Path("x.bit"), max(placements, key=lambda placement: placement.mhz), placements)
    return fpga.Figures(board, board.config, made, speeds)


@pytest.mark.parametrize("mhz, used, short", [((101.0, 99.0, 120.5), 30_000, False), ((90.0, 95.0), 40_000, True)])
def test_tables(mhz, used, short):
    """Best and median, goals that are met and missed, networks that do not fit."""
    speeds = {
        "lenet5": fpga.Speed(50_000, 1, True), "ic_resnet8": fpga.Speed(200_000 if short else 100_000, 1, True),
        "vww_mbv1": fpga.Speed(0, 385_024, True), "kws_dscnn": fpga.Speed(0, 0, True),
    }  # fmt: skip
    found = [figures("ulx3s-85f", mhz=mhz, used=used, speeds=speeds)]
    devices, networks = fpga.device_table(found), fpga.network_table(found)
    for table in (devices, networks):
        assert table.rich().row_count == 1
    mark = " !" if short else ""
    (row,) = devices.rows
    cells = [str(cell) for cell in row]
    assert cells[0] == BOARDS["ulx3s-85f"].title
    assert cells[2] == f"{used:,} / 83,640{mark}" and cells[6] == f"{max(mhz):.1f}{mark}"
    assert cells[7] == ("92.5" if short else "101.0")
    assert cells[8] == str(len(mhz)) and cells[10] == "128"
    assert cells[11] == f"{2 * 128 * max(mhz) / 1000:.1f}{mark}"
    assert [str(cell) for cell in networks.rows[0][1:]] == [
        f"{max(mhz) * 20:,.0f} (50,000)", f"{max(mhz) * (5 if short else 10):,.0f} ({200_000 if short else 100_000:,}){mark}",
        "- (not supported)", "- (385,024 bytes)",
    ]  # fmt: skip
    assert "| " in devices.markdown()
