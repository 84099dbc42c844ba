"""Superpoints are joined as the written-out formula says, and the best are kept."""

import dataclasses

import numpy as np
import pytest

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError, InputError
from sas_jax.instances.contacts import Contacts, contacts
from sas_jax.instances.paint import GREY, instance_colors
from sas_jax.instances.proposals import ProposalConfig, propose
from sas_jax.instances.stage import near_superpoints, propose_scene
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.means import superpoint_rows

KEEP_ALL = ProposalConfig(
    crease=0.3, min_points=1, least=1e-9, max_share=1.0, same=1.0, most=10**6
)


def chain(*weights):
    """Superpoints in a row, each near the next."""
    count = len(weights)
    pairs = np.stack([np.arange(count), np.arange(1, count + 1)], axis=1)
    return Contacts(
        pairs.astype(np.int32),
        np.array(weights, np.float32),
        np.ones(count, np.int32),
    )


def written_out(superpoints, features, near, config):
    """Join the cheapest pair of regions until none is near, over sets of superpoints.

    Returns:
      set of superpoints -> (cost that made it, cost of its next joining).
    """
    sizes = np.bincount(superpoints)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    nobody = np.zeros(len(near.pairs))
    asked = near.votes is not None
    votes = (near.agreed, near.votes) if asked else (nobody, nobody)
    columns = (near.weight, near.count, *votes)
    edges = {
        frozenset(pair): tuple(map(float, row))
        for pair, *row in zip(near.pairs.tolist(), *columns, strict=True)
    }

    def cost(one, two):
        between = [edges[frozenset((a, b))] for a in one for b in two
                   if frozenset((a, b)) in edges]  # fmt: skip
        if not between:
            return np.inf
        bend = sum(w * n for w, n, *_ in between) / sum(n for _, n, *_ in between)
        agreed, voted = (sum(row[i] for row in between) for i in (2, 3))
        parted = (1 - agreed / voted if voted else 0.5) * asked
        seen = [[i for i in region if length[i] > 0] for region in (one, two)]
        apart = 0.5
        if all(seen):
            means = [np.average(unit[s], axis=0, weights=sizes[s]) for s in seen]
            apart = np.sum((means[0] - means[1]) ** 2)
        n, m = (sizes[list(region)].sum() for region in (one, two))
        surface = config.crease * bend + config.masks * parted
        return (apart + surface) * np.sqrt(n * m / (n + m))

    alive = [(i,) for i in range(len(sizes))]
    made, left = dict.fromkeys(alive, 0.0), dict.fromkeys(alive, np.inf)
    while len(alive) > 1:
        costs = {(a, b): cost(a, b) for i, a in enumerate(alive) for b in alive[:i]}
        (a, b), least = min(costs.items(), key=lambda item: item[1])
        if not np.isfinite(least):
            break
        whole = tuple(sorted(a + b))
        left[a] = left[b] = least
        made[whole], left[whole] = least, np.inf
        alive = [region for region in alive if region not in (a, b)] + [whole]
    return {frozenset(region): (made[region], left[region]) for region in made}


def regions_of(found, superpoints):
    return {frozenset(superpoints[mask].tolist()) for mask in found.masks()}


@pytest.mark.parametrize("voting", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_regions_and_scores_are_those_of_the_written_out_formula(seed, voting):
    rng = np.random.default_rng(seed)
    count = 9
    superpoints = np.repeat(np.arange(count), rng.integers(1, 9, count))
    rng.shuffle(superpoints)
    features = rng.standard_normal((count, 4))
    features[seed] = 0
    ends = rng.integers(0, len(superpoints), (60, 2))
    near = contacts(superpoints, ends, rng.uniform(0, 2, 60).astype(np.float32))
    if voting:
        votes = rng.integers(0, 4, len(near.pairs)).astype(float)
        agreed = votes * rng.random(len(votes))
        near = dataclasses.replace(near, agreed=agreed, votes=votes)
    truth = written_out(superpoints, features, near, KEEP_ALL)
    found = propose(superpoints, features, near, KEEP_ALL)
    assert regions_of(found, superpoints) == set(truth)
    for mask, score in zip(found.masks(), found.scores, strict=True):
        made, left = truth[frozenset(superpoints[mask].tolist())]
        assert score == pytest.approx(max(1 - max(made, 1e-9) / left, 0), abs=1e-5)
    assert (np.diff(found.scores) <= 0).all()


def test_contacts_are_means_over_edges_between_different_superpoints():
    superpoints = np.array([0, 0, 1, 2])
    edges = np.array([[0, 1], [1, 2], [2, 0], [3, 2]])
    near = contacts(superpoints, edges, np.array([9.0, 1.0, 2.0, 0.5]))
    np.testing.assert_array_equal(near.pairs, [[0, 1], [1, 2]])
    np.testing.assert_allclose(near.weight, [1.5, 0.5])
    np.testing.assert_array_equal(near.count, [2, 1])


def test_alike_superpoints_are_one_thing_and_a_crease_keeps_things_apart():
    superpoints = np.repeat(np.arange(4), 200)
    alike = np.eye(4)[[0, 0, 1, 1]]
    config = ProposalConfig(max_share=1.0)
    best = propose(superpoints, alike, chain(0, 0, 0), config)
    assert regions_of(best.chosen([0, 1, 2]), superpoints) >= {
        frozenset((0, 1)),
        frozenset((2, 3)),
    }
    flat = np.ones((4, 1))
    config = dataclasses.replace(config, crease=2.0)
    found = propose(superpoints, flat, chain(0.1, 2, 0.1), config)
    assert frozenset((0, 1)) in regions_of(found, superpoints)
    assert frozenset((1, 2)) not in regions_of(found, superpoints)


def test_masks_part_what_looks_alike():
    superpoints = np.repeat(np.arange(4), 200)
    scene = Scene("four", np.arange(2400, dtype=np.float32).reshape(-1, 3))
    features = Features(
        np.ones((800, 2), np.float32),
        np.arange(800, dtype=np.int32),
        np.ones(800, np.int32),
        TextSpace("letters", "random:0", 2),
    )
    halves = np.repeat([1, 2], 400).astype(np.int32)
    config = ProposalConfig(max_share=1.0)
    whole = propose_scene(scene, superpoints, features, config)
    assert whole.sizes().max() == 800
    found = propose_scene(scene, superpoints, features, config, [halves, halves])
    apart = {frozenset((0, 1)), frozenset((2, 3))}
    assert regions_of(found, superpoints) == {*apart, frozenset(range(4))}
    assert regions_of(whole, superpoints) == {frozenset(range(4))}
    void = propose_scene(scene, superpoints, features, config, [0 * halves])
    np.testing.assert_array_equal(void.packed, whole.packed)


def test_small_large_and_repeated_regions_are_left_out():
    superpoints = np.repeat(np.arange(3), (99, 150, 2000))
    features = np.eye(3)
    found = propose(superpoints, features, chain(0, 0), ProposalConfig())
    assert (found.sizes() >= 100).all()
    assert (found.sizes() <= len(superpoints) / 2).all()
    config = ProposalConfig(max_share=1.0, same=0.9)
    masks = [*propose(superpoints, features, chain(0, 0), config).masks()]
    for i, a in enumerate(masks):
        assert all((a & b).sum() / (a | b).sum() < 0.9 for b in masks[:i])
    one = propose(superpoints, features, chain(0, 0), ProposalConfig(most=1))
    assert len(one) == 1


def test_scenes_of_one_superpoint_or_of_nothing():
    none = contacts(np.zeros(0, int), np.zeros((0, 2), int), np.zeros(0))
    assert len(propose(np.zeros(0, int), np.zeros((0, 3)), none)) == 0
    one = propose(
        np.zeros(300, int), np.ones((1, 3)), none, ProposalConfig(max_share=1)
    )
    assert one.sizes().tolist() == [300] and one.scores.tolist() == [1]
    with pytest.raises(ContractError, match=r"a feature per superpoint \(2\)"):
        propose(np.array([0, 1]), np.ones((1, 3)), none)
    with pytest.raises(InputError, match="proposal_same"):
        ProposalConfig(same=0)


def test_rows_are_means_of_unit_features_over_seen_points():
    features = Features(
        np.array([[3, 0], [0, 4]], np.float32),
        np.array([0, 0, 1, -1, -1], np.int32),
        np.ones(2, np.int32),
        TextSpace("letters", "random:0", 2),
        "voxel",
    )
    rows = superpoint_rows(features, np.array([0, 0, 0, 0, 1]))
    np.testing.assert_allclose(rows, [[2 / 3, 1 / 3], [0, 0]])


def boxes():
    """Two flat squares, one cloud, that do not share a vertex."""
    x, y = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(12)))
    flat = np.stack([x, y, 0 * x], 1) * 0.05
    return np.concatenate([flat, flat + np.array([0.6, 0, 0])]).astype(np.float32)


@pytest.mark.parametrize("with_faces", [False, True])
def test_pieces_of_a_mesh_that_do_not_hang_together_are_near(with_faces):
    points = boxes()
    corner = np.array([[0, 1, 12], [144, 145, 156]], np.int32)
    scene = Scene("two", points, faces=corner if with_faces else None)
    superpoints = np.repeat([0, 1], 144)
    near = near_superpoints(scene, superpoints, 8)
    np.testing.assert_array_equal(near.pairs, [[0, 1]])
    rows = np.repeat(np.eye(2, dtype=np.float32), 144, axis=0)
    features = Features(
        *(rows, np.arange(288, dtype=np.int32), np.ones(288, np.int32)),
        TextSpace("letters", "random:0", 2),
    )
    found = propose_scene(scene, superpoints, features, ProposalConfig(max_share=0.6))
    assert found.sizes().tolist() == [144, 144]


def test_colours_tell_instances_apart_and_the_surest_is_on_top():
    superpoints = np.repeat(np.arange(3), (150, 150, 400))
    config = ProposalConfig(max_share=0.9)
    found = propose(superpoints, np.eye(3)[[0, 0, 1]], chain(0, 0), config)
    colors = instance_colors(found)
    assert (colors[found.by_score().mask(0)] == colors[found.mask(0)][0]).all()
    empty = instance_colors(found.chosen(np.zeros(0, int)))
    assert (empty == GREY).all()
