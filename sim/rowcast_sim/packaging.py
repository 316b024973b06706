"""What tools want beside the Verilog: a FuseSoC core and the warnings of Verilator that are meant to be."""

from rowcast.registers import VERSION_VALUE

__all__ = ["WAIVERS", "fusesoc_core", "waiver_file"]

# (rule, what its message must match, reason)
WAIVERS = (
    ("DECLFILENAME", "", "all modules are in one file"),
    ("PROCASSINIT", "", "registers have the initial value that an FPGA loads, and their reset"),
    ("UNUSEDSIGNAL", "Bits of signal are not used*", "blocks take records and addresses whole, and read some bits"),
    ("UNUSEDSIGNAL", "Signal is not used: 'm_axi_?id'", "all writes have one ID, and so may all reads"),
    ("UNUSEDSIGNAL", "Signal is not used: 's_axil_a?prot'", "registers have no protection"),
    ("CMPCONST", "", "a configuration can leave a count so few values that a comparison with it says nothing"),
    ("UNSIGNED", "", "the same"),
    ("PINCONNECTEMPTY", "", "a block may have results that nobody needs here"),
    ("VARHIDDEN", "", "a block and a signal inside another block may have the same name"),
)


def waiver_file():
    """rowcast.vlt: `verilator --lint-only -Wall rowcast.vlt rowcast.v` is then silent."""
    lines = ["`verilator_config", "// What Verilator may not warn of, and why."]
    for rule, match, reason in WAIVERS:
        lines.append(f"// {reason}")
        pattern = f' -match "{match}"' if match else ""
        lines.append(f'lint_off -rule {rule} -file "*rowcast.v"{pattern}')
    return "\n".join(lines) + "\n"


def fusesoc_core(config):
    """rowcast.core: the Verilog as a FuseSoC core (CAPI2), with a target for use, one for lint, one for simulation."""
    major, minor, patch = VERSION_VALUE >> 24 & 255, VERSION_VALUE >> 16 & 255, VERSION_VALUE >> 8 & 255
    return f"""\
CAPI=2:
# Made by Rowcast, configuration {config.digest():08x}.
name: "rowcast:ip:rowcast:{major}.{minor}.{patch}"
description: "DNN inference accelerator, {config.num_macs} MACs a cycle: AXI4 manager, AXI4-Lite registers, interrupt"

filesets:
  rtl:
    files:
      - rowcast.v
    file_type: verilogSource-2005
  waivers:
    files:
      - rowcast.vlt
    file_type: vlt
  driver:
    files:
      - rowcast.h: {{is_include_file: true}}
      - rowcast_driver.h: {{is_include_file: true}}
      - rowcast_driver.c
    file_type: cSource

targets:
  default:
    filesets: [rtl]
    toplevel: rowcast
  lint:
    filesets: [rtl, waivers]
    toplevel: rowcast
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
  sim:
    filesets: [rtl]
    toplevel: rowcast
    flow: sim
    flow_options:
      tool: icarus
      iverilog_options: [-g2005, -Wall]
"""
