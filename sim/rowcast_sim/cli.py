"""The command line.  What a command needs is imported when it runs: the others do not wait for it."""

import functools
import importlib
import importlib.util
import sys
import warnings

import click

from rowcast.config import PRESETS

from .errors import is_expected, one_line

__all__ = ["main"]

BAD_INPUT = 2
# Commands that live elsewhere: name -> module of this package whose attribute of that name is the command.
ELSEWHERE = {"bench": "bench"}


class CommandLine(click.Group):
    """A group whose errors are one line each, and which finds commands in other modules when they are asked for."""

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
            _complain(one_line(error))
            status = BAD_INPUT
        sys.exit(status)


def _complain(text):
    click.echo(f"error: {' '.join(text.split())}", err=True)


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


@main.command()
@click.argument("network")
@click.option("--input", "source", required=True, type=click.Path(), metavar="X.npy",
              help="int8 [N, H, W, C], or uint8 images [N, H, W] where the network takes such.")
@click.option("--output", "target", type=click.Path(), metavar="Y.npy", help="Where the outputs go, int8.")
@click.option("--backend", type=click.Choice(["rtl", "golden", "functional", "amaranth"]), default="rtl",
              show_default=True, help="Compiled RTL, numpy, the instruction set in numpy, or Amaranth's simulator.")
@click.option("--batch", is_flag=True, help="Compile for all N at once instead of running one by one.")
@click.option("--check", is_flag=True, help="Keep every tensor and compare it with the golden.")
@click.option("--memory", type=Size(), metavar="SIZE", help="Refuse a program that needs more memory: 64K, 1M, ...")
@config_options
@click.pass_context
def run(ctx, network, source, target, backend, batch, check, memory, config):
    """Run NETWORK (lenet5) on inputs from a file.

    The first axis of the input counts images.  Exit status 1 if --check finds a difference.
    """
    from .report import output
    from .run import Job, run

    job = Job(network, source, target, backend, batch, check, memory, config)
    ctx.exit(run(job, console=output()))


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
