"""Where the embedded models come from, followed back to their start: no released student, no closed picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from scripts.training_queue.jobs import JOBS, PAINTER_SOURCE, WEIGHTS
from scripts.training_queue.log import Log
from styleplugin.loading import index
from styleplugin.tensorfile import read_weights
from styleplugin.train.recipe.options import TeacherOptions

TEACHERS = {TeacherOptions().vgg, TeacherOptions().mobilenet}
"""Networks trained for recognition, on whose filters students may begin."""
PAINTERS = {"adain-pair", "wct-pair"}
EARLIER = {
    "c0c97cbf3f8ffb54391ed303c236dd248c0a5e69168f2c7a756f0b9f49009bd7",  # cd-wct.x16
    "e04d6a467fde07596c35e99dfebbbf49d5065e915fba7a4a56e3741451337762",  # eb092bb3d986dc0a.metrics
}
"""sha256 of the files from before the queue, which its first complete students replace; at the end none."""
NAMES = [entry.name for entry in index.list_models()]
LOG = Log(WEIGHTS / "training-log.csv")
TAKEN = {row["sha256"] for row in LOG.rows() if row["event"] == "taken"}
MADE = {row["sha256"] for row in LOG.rows() if row["event"] in ("taken", "kept")}


def parts_of(card: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cards of the runs that a file was made by."""
    return [*card.get("pairs", {}).values(), *([card["cascade"]] if "cascade" in card else [])] or [card]


@pytest.mark.parametrize("name", NAMES)
def test_every_card_leads_to_recognition_networks_and_open_pictures(name: str):
    weights = read_weights(WEIGHTS / f"{name}.safetensors")
    if weights.sha256 in EARLIER:
        return
    for card in parts_of(weights.metadata["card"]):
        inits = [phase["init"] for phase in card["recipe"].values() if isinstance(phase, dict) and "init" in phase]
        assert inits == [Path(init).name for init in inits], "it names folders of the machine that trained"
        assert set(card["teacher"]["sha256"]) <= TEACHERS
        assert set(card["teacher"].get("painter", {})) | set(card["teacher"].get("decoder", {})) <= PAINTERS
        assert "open licenses" in card["data"]["name"]
        assert set(card["continues"]) <= MADE, "it goes on from a file that the queue has not made"


def test_files_of_the_queue_are_in_its_log():
    names = {job.name for job in JOBS}
    for entry in index.list_models():
        assert entry.sha256 in EARLIER | TAKEN or entry.name.removesuffix("-fp16") in names - {entry.name}


def test_no_earlier_file_is_listed_that_is_not_there_any_more():
    there = {entry.sha256 for entry in [*index.list_models(), *index.list_metrics()]}
    assert there >= EARLIER


@pytest.mark.skipif(not (WEIGHTS / "sources.csv").exists(), reason="needs the list of pictures")
def test_every_training_picture_has_a_license_and_an_author_where_it_is_known():
    with (WEIGHTS / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 1000 and PAINTER_SOURCE not in {row["source"] for row in rows}
    assert all(row["license"] and not row["license"].startswith("NO ") and row["source"] for row in rows)
    assert not any(word in row["license"] for row in rows for word in ("BY-SA", "GPL", "BY-NC"))
    assert len({row["sha256"] for row in rows}) == len(rows)
