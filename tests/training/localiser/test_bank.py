"""Examples: made again by their number alone, labelled where pixels changed, kept on disk as they are."""

from __future__ import annotations

import numpy as np
import pytest
from training.localiser.stocks import make_stock

from verict.detect.localiser_features import CHANNEL_COUNT, DEPTH
from verict.tamper import families, touch_ups
from verict.training.localiser.bank import CLEAN, CROP_CELLS, CROP_PX, INJECTED, REMOVED, UNTOLD, Maker
from verict.training.localiser.shards import Bank, read_shard, write_shard

NUMBERS = range(24)


@pytest.fixture(scope="module")
def examples(shared_data):
    maker = Maker(make_stock(shared_data), seed=11)
    return [maker.make(number) for number in NUMBERS]


def test_numbers_take_turns(examples):
    for number, made in zip(NUMBERS, examples, strict=True):
        expected = {"lab"} if number % 8 < 3 else {"repaint", "blend"} if number % 8 < 6 else {"untouched"}
        assert {e.tags.what for e in made} <= expected
    assert {e.tags.what for made in examples for e in made} == {"lab", "repaint", "blend", "untouched"}


def test_the_same_number_gives_the_same_examples(shared_data, examples):
    again = Maker(make_stock(shared_data), seed=11)
    for number in (0, 4, 6):  # out of order, by another maker
        for one, other in zip(again.make(number), examples[number], strict=True):
            assert one.tags == other.tags
            np.testing.assert_array_equal(one.values, other.values)
            np.testing.assert_array_equal(one.pixels, other.pixels)


def test_labels_say_what_was_done(examples):
    for example in (e for made in examples for e in made):
        labels = set(np.unique(example.labels).tolist())
        painted = {REMOVED} if example.tags.kind == "remove" else {INJECTED}
        if example.tags.what == "untouched":
            assert labels <= {CLEAN, UNTOLD}
        else:
            assert labels <= {CLEAN, UNTOLD} | painted
            assert (example.labels == CLEAN).mean() > 0.3
        assert set(example.tags.akin) <= {*families.names(), *touch_ups.names()}
    painted = [e for made in examples for e in made if e.tags.what == "lab"]
    assert all((e.labels > 0).any() for e in painted if len(e.rows) > 300) or len(painted) > 10


def test_crops_have_one_size_and_cells_lie_in_them(examples):
    for example in (e for made in examples for e in made):
        assert example.pixels.shape == (CROP_PX, CROP_PX)
        assert example.values.shape == (len(example.rows), CHANNEL_COUNT)
        assert example.labels.shape == (len(example.rows), 4)
        assert example.rows.min() >= 0 and example.rows.max() < CROP_CELLS
        assert np.isfinite(example.values).all()


def test_single_slices_show_no_neighbours(examples):
    for example in (e for made in examples for e in made):
        if example.tags.what in ("repaint", "blend") or example.tags.folder in ("tcga-singles", "ctgan"):
            assert not example.values[:, DEPTH].any()
    assert any(e.values[:, DEPTH].any() for made in examples for e in made if e.tags.what == "lab")


def test_real_fakes_are_painted_at_their_label_only(shared_data):
    stock = make_stock(shared_data)
    (example,) = Maker(stock, seed=11).label_real_fakes()
    kind = example.tags.kind
    assert (example.labels == (REMOVED if kind == "FB" else INJECTED)).any()
    assert (example.labels > 0).sum() < 60  # quarters of cells within 7 mm
    assert (example.labels == UNTOLD).any()


def test_shards_come_back_as_they_were(tmp_path, examples):
    flat = [e for made in examples[:4] for e in made]
    write_shard(flat, tmp_path / "shard-0000.npz")
    shard = read_shard(tmp_path / "shard-0000.npz")
    assert shard.tags == tuple(e.tags for e in flat)
    for i, example in enumerate(flat):
        cells = slice(int(shard.first[i]), int(shard.first[i + 1]))
        np.testing.assert_array_equal(shard.values[cells], example.values.astype(np.float16))
        np.testing.assert_array_equal(shard.labels[cells], example.labels)
        np.testing.assert_array_equal(shard.pixels[i], example.pixels)


def test_a_bank_makes_what_is_missing_and_nothing_twice(tmp_path, shared_data):
    maker = Maker(make_stock(shared_data), seed=11)
    with Bank(maker, tmp_path, 1, workers=1) as bank:
        made = bank.read(0)
    stamp = (tmp_path / "shard-0000.npz").stat().st_mtime_ns
    with Bank(maker, tmp_path, 1, workers=0) as bank:
        again = bank.read(0)
    assert (tmp_path / "shard-0000.npz").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(made.values, again.values)
    assert not list(tmp_path.glob("*.partial*"))
