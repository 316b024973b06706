"""`rowcast bench`: measure what the generator and its hardware reach, beside what they are built to reach."""

import click

from .after_synthesis import netlist_
from .area import area
from .cycles import cycles
from .fpga import fpga
from .layers import layers
from .mapper import mapper
from .mnist import mnist
from .networks import networks
from .node_tests import node_tests
from .property import property_
from .speed import speed
from .tiny import tiny
from .topologies import topologies
from .zoo import zoo

__all__ = ["bench"]


@click.group()
def bench():
    """Measure layers, area, speed and whole models, and compare each figure with its goal.

    Every benchmark writes its figures for a program (--json), its tables for a page (--markdown), and can say with its
    exit status whether they all reach their goals (--check).
    """


for command in (
    layers, area, netlist_, speed, tiny, topologies, networks, mapper, cycles, mnist, node_tests, property_, zoo, fpga,
):  # fmt: skip
    bench.add_command(command)
