"""A folder from elsewhere, with links and with markers of any content, leads to no file outside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import FILES, contents, marker, put, work

from augment.errors import OutputError
from augment.markers import MARKER
from augment.output_folders import LOCK

posix = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder of somebody else, which has to be unchanged at the end."""
    put(tmp_path / "victim", "000.png", "step-1.png", "report.html")
    before = contents(tmp_path / "victim")
    yield tmp_path / "victim"
    assert contents(tmp_path / "victim") == before


LISTED = {
    "a file in a linked folder": (["link/000.png"], {"link": "../victim"}),
    "a linked file": (["report.html"], {"report.html": "../victim/report.html"}),
    "a folder below a linked one": (["link/a/000.png"], {"link": ".."}),
    "a link in the journal": ([], {"link": "../victim"}),
}


@posix
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("case", LISTED)
def test_a_strangers_marker_deletes_nothing_outside(case: str, overwrite: bool, victim: Path, tmp_path: Path) -> None:
    listed, links = LISTED[case]
    folder = tmp_path / "out"
    folder.mkdir()
    for name, target in links.items():
        (folder / name).symlink_to(target)
    journal = ["link/000.png"] if case == "a link in the journal" else []
    (folder / MARKER).write_bytes(marker(*listed, replaced=journal))
    with pytest.raises(OutputError, match="is a link, and nothing is written through links"):
        work(folder, overwrite=overwrite, replace="anything")


@posix
@pytest.mark.parametrize("link", ["samples", "cats", "config.yaml", MARKER, LOCK, "samples/step-1.png"])
def test_nothing_is_written_through_a_link_in_a_strangers_folder(link: str, victim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "samples").mkdir(parents=True)
    if link == "samples":
        (folder / "samples").rmdir()
    (folder / link).symlink_to(victim if link in ("samples", "cats") else victim / "report.html")
    with pytest.raises(OutputError):
        work(folder, overwrite=True)


def test_a_pattern_in_a_marker_matches_nothing(tmp_path: Path) -> None:
    put(tmp_path / "out", "a.png", "b.png")
    (tmp_path / "out" / MARKER).write_bytes(marker("*.png", "config.yaml"))
    work(tmp_path / "out", files=FILES[:1], overwrite=True)
    assert contents(tmp_path / "out").keys() >= {"a.png", "b.png"}
