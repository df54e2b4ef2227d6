from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from terrazzo.simulation import report
from terrazzo.simulation.gallery import GalleryItem, heat, palette, tiles
from terrazzo.simulation.overview import write_overview_png

VOID = {"meta", "img", "path", "use", "rect", "circle", "link", "br", "image"}


class Page(HTMLParser):
    """Collects addresses, alt texts and text; checks that elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.svg_labels: list[str | None] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "poster", "action", "data")]
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "img":
            self.images.append(values)
        if tag == "svg":
            self.svg_labels.append(values.get("aria-label"))
        assert tag not in ("script", "iframe", "link", "object", "embed")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def html(
    tmp_path_factory: pytest.TempPathFactory, example_document: dict[str, Any], example_gallery: list[GalleryItem]
) -> str:
    path = report.write_report(example_document, example_gallery, tmp_path_factory.mktemp("report"))
    assert path.name == "report.html"
    assert path.stat().st_size < report.MAX_BYTES
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    page = Page()
    page.feed(html)
    assert page.open == []
    return page


def test_the_report_fetches_nothing(html: str, page: Page) -> None:
    assert page.addresses
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not re.search(r"url\((?!['\"]?(#|data:))", html)
    assert "@import" not in html
    assert "http://" not in html
    assert "https://" not in html


def test_every_picture_has_a_name_for_those_who_do_not_see_it(page: Page) -> None:
    assert len(page.images) == 2 * 8
    assert all(image.get("alt") for image in page.images)
    assert len(page.svg_labels) == 7
    assert all(page.svg_labels)


def test_ids_are_unique_and_every_inner_link_has_its_target(html: str, page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert targets <= set(page.ids)


def test_the_report_says_what_the_summary_says(page: Page, example_document: dict[str, Any]) -> None:
    text = " ".join(" ".join(page.words).split())
    totals = example_document["totals"]
    assert f"{totals['first_miou']:.3f} → {totals['last_miou']:.3f}" in text
    assert example_document["source"]["note"] in text
    for entry in example_document["annotators"]:
        assert entry["name"] in text
    for entry in example_document["rounds"]:
        assert entry["commit_id"] in text
    for heading in ("The loop", "Side by side", "Class by class", "The people", "How time is modelled"):
        assert heading in text
    assert "keystroke-level model" in text


def test_names_from_outside_cannot_become_markup(
    example_document: dict[str, Any], example_gallery: list[GalleryItem]
) -> None:
    nasty = "<script>alert('x')</script>\"&"
    document = copy.deepcopy(example_document)
    document["ontology_name"] = document["source"]["note"] = document["annotators"][0]["name"] = nasty
    document["classes"][1]["name"] = nasty
    document["stages"][0]["name"] = nasty
    page = Page()
    page.feed(report.render(document, example_gallery[:1], 64))
    assert page.open == []
    assert nasty in "".join(page.words)


def test_a_run_in_which_little_was_measured_still_gives_a_report(example_document: dict[str, Any]) -> None:
    document = copy.deepcopy(example_document)
    document.update(rounds=[], stages=[], annotators=[], confusion=None, gallery=[], settings={})
    document["totals"].update(first_miou=None, last_miou=None, human_seconds=0, human_seconds_from_nothing=0)
    text = report.render(document, [])
    assert "tasks leaked" in text
    document = copy.deepcopy(example_document)
    for entry in document["rounds"]:
        entry.update(
            agreement=None, consensus_iou=None, single_annotator_iou=None, model_miou=None, model_iou_per_class={}
        )
    assert "Learning curve" not in report.render(document, [])


def test_150_classes_fit(example_document: dict[str, Any], example_gallery: list[GalleryItem]) -> None:
    document = copy.deepcopy(example_document)
    ids = list(range(1, 151))
    document["classes"] = [{"id": i, "name": f"value-{i - 1}", "color": "#336699", "parent_id": None} for i in ids]
    document["confusion"] = {
        "class_ids": ids,
        "matrix": [[9 * (i == j) + 1 for j in range(151)] for i in range(150)],
    }
    for entry in document["rounds"]:
        entry["model_iou_per_class"] = {str(i): i / 200 for i in ids}
    text = report.render(document, example_gallery[:1], 64)
    assert "and 90 more" in text
    assert len(text.encode()) < report.MAX_BYTES


def test_pictures_shrink_until_the_file_is_small_enough(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    example_document: dict[str, Any],
    example_gallery: list[GalleryItem],
) -> None:
    monkeypatch.setattr(report, "MAX_BYTES", 330_000)
    path = report.write_report(example_document, example_gallery, tmp_path / "small.html")
    assert path.name == "small.html"
    assert path.stat().st_size < 330_000


def test_masks_keep_their_colours_and_large_ids_when_they_shrink() -> None:
    labels_HW = np.full((600, 900), 40_000, np.uint16)
    labels_HW[:, :450] = 7
    labels_HW[:300] = 0
    colours = palette([{"id": 7, "color": "#102030"}, {"id": 40_000, "color": "#405060"}])
    item = GalleryItem("s", "s", 1, np.zeros((600, 900, 3), np.uint8), labels_HW)
    row = tiles(item, colours, 300)
    assert [tile.caption for tile in row] == ["image", "accepted"]
    assert row[1].image_HWC.shape == (200, 300, 3)
    found = {tuple(colour) for colour in row[1].image_HWC.reshape(-1, 3).tolist()}
    assert found == {(0x10, 0x20, 0x30), (0x40, 0x50, 0x60), (120, 120, 120)}


def test_disagreement_glows_only_where_there_is_any() -> None:
    disagreement_HW = np.zeros((4, 4), np.uint8)
    disagreement_HW[1, 2] = 255
    grey_HWC = np.full((4, 4, 3), 100, np.uint8)
    picture_HWC = heat(grey_HWC, disagreement_HW)
    assert (picture_HWC[0, 0] == 35).all()
    assert picture_HWC[1, 2].max() > 200


def test_the_overview_is_one_wide_picture(
    tmp_path: Path, example_document: dict[str, Any], example_gallery: list[GalleryItem]
) -> None:
    path = write_overview_png(example_document, example_gallery, tmp_path / "overview.png")
    with Image.open(path) as image:
        assert image.width == 1600
        assert 500 < image.height < 1400
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 1000
    with pytest.raises(ValueError, match="at least one"):
        write_overview_png(example_document, [], tmp_path / "none.png")
