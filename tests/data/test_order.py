"""The order of training samples: permutations, workers' shares, views."""

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raykd.data import order


def stream(subset: np.ndarray, share: float = 1.0, views: int = 0, seed: int = 7) -> order.Stream:
    return order.Stream(subset, partial(order.permutation, seed, size=len(subset)), share, views)


def test_hash_is_splitmix64():
    # First outputs of Vigna's reference splitmix64.c for state 1234567.
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + order.GOLDEN * np.arange(1, 4, dtype=np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(x) for x in order.splitmix64(states)] == expected


@given(st.integers(-5, 1 << 62), st.integers(0, 1 << 20), st.integers(1, 300))
def test_a_permutation_contains_every_sample_once(seed, epoch, size):
    assert sorted(order.permutation(seed, epoch, size)) == list(range(size))


def test_permutations_differ_between_epochs_and_seeds():
    base = order.permutation(0, 0, 100)
    assert (base != order.permutation(0, 1, 100)).mean() > 0.9
    assert (base != order.permutation(1, 0, 100)).mean() > 0.9


def test_every_position_is_equally_likely():
    counts = np.zeros((5, 5))
    for seed in range(4000):
        counts[np.arange(5), order.permutation(seed, 3, 5)] += 1
    # χ² with 16 degrees of freedom: 39.3 is its 99.9 % point.
    assert ((counts - 800) ** 2 / 800).sum() < 39.3


@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 50), st.integers(0, 20))
def test_the_stream_concatenates_epochs_for_any_reader(batch, world, size, start):
    subset = np.arange(size) * 3 + 1
    whole = np.concatenate(
        [subset[order.permutation(7, e, size)] | (e << 40) for e in range((start + 3) * batch // size + 1)]
    )
    parts = []
    for rank in range(world):
        first, last = order.worker_rows(rank, world, batch)
        positions = order.positions(np.arange(start, start + 3), np.arange(first, last), batch)
        parts.append(order.tags(positions, [stream(subset)]))
    assert (np.concatenate(parts, 1).reshape(-1) == whole[start * batch : (start + 3) * batch]).all()


def test_hold_out_is_stratified_and_fixed():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    mask = order.held_out(labels, 0.2)
    assert np.bincount(labels[mask]).tolist() == [20, 10, 2]
    assert (mask == order.held_out(labels, 0.2)).all()
    assert not order.held_out(labels, 0.0).any()


def test_windowed_order_reads_each_page_once():
    pages = np.repeat(np.arange(5, 105), 7)
    first = order.windowed(pages, 1, 0)
    assert sorted(first) == list(range(700))
    assert (first != order.windowed(pages, 1, 1)).any() and (first == order.windowed(pages, 1, 0)).all()
    windows = [set(pages[first[i : i + 7 * order.WINDOW]]) for i in range(0, 700, 7 * order.WINDOW)]
    assert [len(window) for window in windows] == [32, 32, 32, 4] and len(set.union(*windows)) == 100
    assert len(set(pages[first[:20]])) > 10  # shuffled inside


def test_views_repeat_in_a_different_order():
    subset = np.arange(50) * 3 + 1
    whole, again = (order.tags(np.arange(400), [stream(subset, views=views)]) for views in (0, 3))
    assert (whole[:150] == again[:150]).all()
    for epoch in range(3, 8):
        mine, first = again[50 * epoch : 50 * epoch + 50], whole[50 * (epoch % 3) : 50 * (epoch % 3) + 50]
        assert sorted(mine) == sorted(first) and (mine != first).any()
        assert (mine & order.INDEX_MASK == whole[50 * epoch : 50 * epoch + 50] & order.INDEX_MASK).all()


@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 4), st.floats(0.05, 0.95))
def test_views_of_an_image_have_unique_stable_addresses(labelled, unlabelled, views, share):
    subset = np.random.default_rng(1).permutation(labelled + unlabelled)
    streams = [stream(subset, views=views)]
    if unlabelled:
        parts = ((subset[:labelled], share), (subset[labelled:], 1 - share))
        streams = [stream(part, weight, views, seed) for seed, (part, weight) in enumerate(parts)]
    where = np.arange(10 * len(subset))
    tags, addresses = order.tags(where, streams), order.addresses(where, streams)
    pairs = set(zip(tags.tolist(), addresses.tolist(), strict=True))
    assert len(pairs) == len(set(tags.tolist())) == len(set(addresses.tolist()))
    if views:
        assert addresses.max() < views * len(subset)
    if views == 0 and len(streams) == 1:
        assert (addresses == where).all()
