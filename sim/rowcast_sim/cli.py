"""The command line.  What a command needs is imported when it runs: the others do not wait for it."""

import functools
import importlib
import importlib.util
import sys
import warnings

import click

from rowcast.config import PRESETS

from .errors import describe, is_expected

__all__ = ["main"]

BAD_INPUT = 2
# Commands that live elsewhere: name -> module of this package whose attribute of that name is the command.
ELSEWHERE = {"bench": "bench"}


class CommandLine(click.Group):
    """A group whose errors are a line for each problem, and which finds commands in other modules when they are asked for."""

    def list_commands(self, ctx):
        found = [name for name, module in ELSEWHERE.items() if importlib.util.find_spec(f"{__package__}.{module}")]
        return sorted([*super().list_commands(ctx), *found])

    def get_command(self, ctx, name):
        if name in ELSEWHERE and name in self.list_commands(ctx):
            return getattr(importlib.import_module(f"{__package__}.{ELSEWHERE[name]}"), name)
        return super().get_command(ctx, name)

    def main(self, *args, standalone_mode=True, **options):
        """As click's, with one line for what people can put right and a traceback for what only we can."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **options)
        # Amaranth says so of memories whose module was elaborated once for all its places.
        warnings.filterwarnings("ignore", message=".* created but never used")
        try:
            status = super().main(*args, standalone_mode=False, **options)
        except click.UsageError as error:
            _complain(f"{_lower(error.format_message()).rstrip('.')}{_hint(error.ctx)}")
            status = BAD_INPUT
        except click.ClickException as error:
            _complain(error.format_message())
            status = BAD_INPUT
        except click.Abort:
            _complain("interrupted")
            status = 130
        except Exception as error:
            if not is_expected(error):
                raise
            _complain(describe(error), folded=True)
            status = BAD_INPUT
        sys.exit(status)


def _complain(text, *, folded=False):
    """One line, unless the lines are meant."""
    click.echo(f"error: {text if folded else ' '.join(text.split())}", err=True)


def _lower(text):
    return text[:1].lower() + text[1:]


def _hint(ctx):
    return f" (see {ctx.command_path} --help)" if ctx is not None else ""


def config_options(command):
    """--preset, --config and --set as one argument `config`."""

    @click.option("--preset", type=click.Choice(list(PRESETS)), help="A configuration that comes with Rowcast [base].")
    @click.option("--config", "path", type=click.Path(), metavar="FILE.json", help="A configuration of your own.")
    @click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Change one field; can be repeated.")
    @functools.wraps(command)
    def wrapped(*args, preset, path, changes, **options):
        from .configuration import read_config

        return command(*args, config=read_config(preset=preset, path=path, changes=changes), **options)

    return wrapped


def config_options_of_board(command):
    """As `config_options`, for a command with --board: what is not said is that board's configuration."""

    @click.option("--preset", type=click.Choice(list(PRESETS)), help="A configuration that comes with Rowcast [the board's].")
    @click.option("--config", "path", type=click.Path(), metavar="FILE.json", help="A configuration of your own.")
    @click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Change one field; can be repeated.")
    @functools.wraps(command)
    def wrapped(*args, preset, path, changes, **options):
        from rowcast.boards import board

        from .configuration import read_config

        if preset is None and path is None:
            preset = board(options["name"]).preset
        return command(*args, config=read_config(preset=preset, path=path, changes=changes), **options)

    return wrapped


class Size(click.ParamType):
    """Bytes: an integer, with K, M or G for powers of 1024."""

    name = "size"

    def convert(self, value, param, ctx):
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
        try:
            size = int(text[:-1] if factor > 1 else text, 0) * factor
        except ValueError:
            size = 0
        if size <= 0:
            self.fail(f"must be a number of bytes above 0, such as 65536 or 64K, not {value!r}", param, ctx)
        return size


@click.group(cls=CommandLine, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rowcast", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx):
    """Rowcast makes DNN inference accelerators, and runs quantised networks on them bit for bit.

    \b
    rowcast demo                     handwritten digits through LeNet-5 on the RTL
    rowcast generate -o out          Verilog, C header and interface document
    rowcast run lenet5 --input X.npy run a network on inputs of your own
    rowcast run M.tflite --input X.npy --check
                                     a model of your own, compared with its runtime
    rowcast compile M.onnx -o out    program and memory map of a model

    Exit status: 0 all is well, 1 a result differs from the golden, 2 something given cannot be used.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@main.command()
@click.option("--digits", "count", type=click.IntRange(1, 500), default=8, show_default=True, help="How many digits.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses among the 500 digits.")
@config_options
@click.pass_context
def demo(ctx, config, count, seed):
    """Handwritten digits through LeNet-5 on the RTL, every tensor compared.

    The Verilog is compiled once (a minute) and kept.  Exit status 1 if any tensor differs from the golden.
    """
    from .demo import demo
    from .report import output

    ctx.exit(demo(config, count=count, seed=seed, console=output()))


@main.command()
@config_options
@click.option("-o", "--output", "folder", required=True, type=click.Path(), help="Folder to write into.")
def generate(config, folder):
    """Write the Verilog of a configuration, its C header and its interface document.

    Everything is made from one declaration of configuration, registers and instructions.
    """
    from .generate import generate, print_files
    from .report import output

    print_files(output(), generate(config, folder))


RUNTIME = click.option(
    "--runtime", type=click.Choice(["tflm", "litert"]),
    help="Of .tflite models: round like TensorFlow Lite Micro [tflm] or like LiteRT's reference kernels.",
)  # fmt: skip


@main.command()
@click.argument("network", metavar="MODEL")
@click.option("--input", "sources", required=True, multiple=True, metavar="[NAME=]X.npy|X.npz",
              help="Array of an input, first axis the batch; repeat it, or use .npz, if there are several.")
@click.option("--output", "target", type=click.Path(), metavar="Y.npy|Y.npz", help="Where the outputs go.")
@click.option("--backend", type=click.Choice(["rtl", "golden", "functional", "amaranth"]), default="rtl",
              show_default=True, help="Compiled RTL, numpy, the instruction set in numpy, or Amaranth's simulator.")
@click.option("--port", metavar="PORT", help="Run on the device at this serial port: /dev/ttyUSB0, COM3, ...")
@click.option("--baud", type=click.IntRange(1), help="Of --port, as the bitstream was made for [1000000].")
@click.option("--batch", is_flag=True, help="Compile for all N at once instead of running one by one.")
@click.option("--check", is_flag=True, help="Keep every tensor and compare: RTL, graph, operators, runtime.")
@click.option("--memory", type=Size(), metavar="SIZE", help="Refuse a program that needs more memory: 64K, 1M, ...")
@click.option("--trace", type=click.Path(), metavar="FILE.json", help="What each unit did, for Perfetto.")
@RUNTIME
@config_options
@click.pass_context
def run(ctx, network, sources, target, backend, port, baud, batch, check, memory, trace, runtime, config):
    """Run MODEL (a file .onnx or .tflite, or a network of the zoo: lenet5, alexnet, ...) on inputs from files.

    Inputs and outputs have the model's own types and axes; the first axis counts items. Networks of the zoo take int8
    [N, H, W, C] and also images, uint8, lenet5 [N, H, W]. With --check, every tensor of the hardware is compared with the integer graph, every value of the
    graph with the golden of the operator that makes it, and every operator with the runtime (LiteRT, ONNX Runtime), if
    it is installed. Exit status 1 if --check finds a difference.

    With --port the network runs on a board, which must have been made with the same configuration.
    """
    from .report import output
    from .run import Job, run

    if port is None and baud is not None:
        raise click.UsageError("--baud belongs to --port, which is not given", ctx)
    if port is not None:
        if ctx.get_parameter_source("backend") is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError("--port and --backend exclude each other", ctx)
        backend = "port"
    job = Job(network, sources, target, backend, batch, check, memory, config, runtime, trace, port, baud)
    ctx.exit(run(job, console=output()))


@main.command("compile")
@click.argument("model", type=click.Path())
@click.option("-o", "--output", "folder", required=True, type=click.Path(), help="Folder to write into.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Items at a time [the model's own, or 1].")
@RUNTIME
@config_options
def compile_(model, folder, batch, runtime, config):
    """Compile MODEL (a file .onnx or .tflite): program images, memory map, report.

    Nothing is written if the model cannot be compiled.
    """
    from .compile_command import compile_model, print_compiled
    from .report import output

    print_compiled(output(), compile_model(model, folder, config, batch=batch, runtime=runtime))


@main.command()
@click.argument("path", metavar="MODEL.onnx", type=click.Path())
@click.option("--calibration", required=True, type=click.Path(), metavar="X.npz",
              help="Typical inputs: arrays by input name, first axis the samples.")
@click.option("-o", "--output", "target", required=True, type=click.Path(), metavar="OUT.onnx", help="The int8 model.")
@click.option("--form", type=click.Choice(["qoperator", "qdq"]), default="qoperator", show_default=True,
              help="Quantised operators, or float ones between Quantize- and DequantizeLinear.")
@click.option("--activations", type=click.Choice(["int8", "uint8"]), default="int8", show_default=True)
def quantise(path, calibration, target, form, activations):
    """Quantise a float ONNX model, with ONNX Runtime's tools, to one that Rowcast runs."""
    from .quantise_command import quantise
    from .report import output

    quantise(path, calibration, target, form=form, activations=activations, console=output())


@main.command()
@click.argument("name", metavar="NETWORK")
@click.option("-o", "--output", "target", required=True, type=click.Path(), metavar="OUT.onnx", help="The int8 model.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the weights.")
def export(name, target, seed):
    """Write NETWORK of the zoo (alexnet, resnet50, ...) as a quantised ONNX model.

    ONNX Runtime runs it, and `rowcast run` gives the same bytes, but for those that the runtime computes in float.
    """
    from .export_command import export
    from .report import output

    export(name, target, seed=seed, console=output())


@main.command()
@click.option("--board", "name", required=True, help="ulx3s-85f, ulx3s-25f, icebreaker or tangnano9k.")
@click.option("--network", metavar="NETWORK", help="Compile this network too, and check that it fits the board's memory.")
@click.option("--clock", "mhz", type=click.FloatRange(1), metavar="MHZ", help="Of the system, from the board's PLL [the board's own].")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Placements to try; the best is kept.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Placements at a time.")
@click.option("-o", "--output", "folder", type=click.Path(), help="Folder to work in [build/out/BOARD].")
@click.option("--force", is_flag=True, help="Synthesise even what is too large by estimate.")
@config_options_of_board
@click.pass_context
def bitstream(ctx, name, network, mhz, seeds, jobs, folder, force, config):
    """Make the bitstream of a board: accelerator, host bridge, memory, clock.

    Yosys, nextpnr and the packers come from PyPI, or from PATH if they are there. Exit status 1 if the clock is not
    reached: the bitstream is kept, and its name says so.
    """
    from rowcast.boards import board

    from .bitstream.command import bitstream
    from .report import output

    chosen = board(name)
    job = {"folder": folder, "clock_hz": mhz and mhz * 1e6, "seeds": seeds, "jobs": jobs, "force": force, "network": network}
    ctx.exit(bitstream(chosen, config, **job, console=output()))


@main.command()
@click.option("--write", "target", type=click.Path(), metavar="FILE.md", help="Write the table as a page instead.")
def operators(target):
    """Show the operators of both formats: what of them is supported, where they run, and whose bits they give."""
    from .operators import print_operators, write_operators
    from .report import output

    if target is None:
        print_operators(output())
    else:
        write_operators(target)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON that --config reads.")
@config_options
def config(config, as_json):
    """Show a configuration and what follows from it."""
    import json

    from .configuration import print_config
    from .report import output

    if as_json:
        click.echo(json.dumps(config.to_dict(), indent=2))
    else:
        print_config(output(), config)


if __name__ == "__main__":
    main()
