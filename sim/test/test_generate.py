"""What `rowcast generate` writes, read by the tools that it is for."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from rowcast import PRESETS, Config
from rowcast.verilog_expressions import KEYWORDS
from rowcast_sim.generate import generate
from rowcast_sim.packaging import WAIVERS, fusesoc_core
from rowcast_sim.tools import find_verilator
from rowcast_sim.verilate import emitted

CONFIGS = {
    "tiny": PRESETS["tiny"],
    "base": PRESETS["base"],
    # Odd in what shapes the text: one row, three columns, words of 4, beats of 4 words, wide networks and addresses.
    "odd": Config(
        rows=1, columns=3, lanes=4, dram_bytes=16, noc_words=2, psum_pixels=16, act_words=4096,
        filter_buffer_words=1024, address_width=40, burst_beats=4, outstanding_reads=1, param_channels=64, queue_depth=8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request, tmp_path_factory):
    """The files of a configuration; the Verilog comes from the cache that other tests share."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        from rowcast import emit

        config = CONFIGS[request.param]
        patch.setattr(emit, "emit_files", lambda config, out: Path(out, "rowcast.v").write_text(emitted(config)))
        generate(config, folder)
    return folder


def lint(folder, *options):
    tool = find_verilator()
    done = subprocess.run(
        [str(tool.program), "--lint-only", "-Wall", "--quiet", "--top-module", "rowcast", *options, "rowcast.v"],
        cwd=folder, env=tool.environment(), capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_lint(folder):
    """Silent with the waivers; each rule of them is needed by some configuration, and there are no others."""
    status, said = lint(folder, "rowcast.vlt")
    assert status == 0 and "%Warning" not in said, said[:3000]
    _, said = lint(folder, "-Wno-fatal")
    assert set(re.findall(r"%Warning-(\w+)", said)) <= {rule for rule, _match, _reason in WAIVERS}


def test_lint_finds_what_is_wrong(folder, tmp_path):
    """The waivers hide no widths: a constant one bit too wide is found."""
    for name in ("rowcast.v", "rowcast.vlt"):
        shutil.copy(folder / name, tmp_path)
    text = (tmp_path / "rowcast.v").read_text()
    (tmp_path / "rowcast.v").write_text(re.sub(r"== 3'd1;", "== 4'd1;", text, count=1))
    status, said = lint(tmp_path, "rowcast.vlt")
    assert status != 0 and "WIDTH" in said


def test_icarus(folder, tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is missing: it is in Debian's package iverilog")
    command = ["iverilog", "-g2005", "-Wall", "-s", "rowcast", "-o", str(tmp_path / "sim"), "rowcast.v"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "rowcast.v" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_plain_verilog(folder):
    """No word that SystemVerilog has added, nothing that needs an escape, no name that a tool has made up."""
    text = re.sub(r"//.*|\"[^\"]*\"", "", (folder / "rowcast.v").read_text())
    assert "\\" not in text and "$auto" not in text
    of_2005 = {
        "always", "and", "assign", "begin", "case", "casez", "default", "else", "end", "endcase", "endmodule", "for",
            "if",
        "initial", "input", "integer", "module", "negedge", "or", "output", "posedge", "reg", "wire",
    }  # fmt: skip
    assert set(re.findall(r"(?<![\w$])[A-Za-z_]\w*", re.sub(r"`\w+.*", "", text))) & KEYWORDS <= of_2005
    assert set(re.findall(r"\$\w+", text)) <= {"$signed"}
    names = re.findall(r"^module (\w+)\(", text, re.MULTILINE)
    assert len(names) == len(set(names)) and names[0] == "rowcast"
    assert all(name.startswith("rowcast_") for name in names[1:])
    assert max(map(len, text.splitlines())) <= 130


def test_sizes(folder):
    assert (folder / "rowcast.v").stat().st_size < 400_000  # large has at most 1.5 MB: `rowcast bench`


def test_core(folder, tmp_path):
    """FuseSoC finds the core and sets up its targets."""
    if find_spec("fusesoc") is None:
        pytest.skip("fusesoc is missing: pip install rowcast[test]")
    import sys

    command = [sys.executable, "-m", "fusesoc.main", "--cores-root", str(folder)]
    for target in ("lint", "sim"):
        done = subprocess.run(
            [*command, "run", "--setup", "--target", target, "rowcast:ip:rowcast"], cwd=tmp_path, capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert list(tmp_path.rglob(f"*{target}*/**/rowcast.v"))


def test_core_names_the_files(folder):
    """Every file that the core lists is there; what a parser of the format would also say."""
    names = re.findall(r"- (rowcast[\w.]*\.\w+)", fusesoc_core(Config()))
    assert len(names) == 5 and all((folder / name).exists() for name in names)
