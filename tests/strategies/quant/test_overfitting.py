"""Overfitting statistics agree with the published code and with their limits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from strategies.quant.overfitting import (
    Rank,
    block_moments,
    overfitting_from_blocks,
    overfitting_probability,
)
from tests.strategies.quant.builders import FIXTURES, load_fixture

RATE = 0.03 / 252


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.loadtxt(FIXTURES / "data" / "pbo_matrix_200x40.csv", delimiter=",")


def test_cscv_agrees_with_the_published_package(noise: np.ndarray) -> None:
    expected = load_fixture("pbo__noise_200x40_s4")["values"]
    four = overfitting_probability(noise, n_blocks=4, rate=RATE, rank=Rank.OVER_N)
    assert len(four.logits) == expected["n_combinations_S4"]
    assert four.probability == pytest.approx(expected["pbo_S4"], abs=1e-12)
    assert four.loss_probability == pytest.approx(expected["prob_oos_loss_S4"], abs=1e-12)
    logits = expected["logits_S4_rank_over_N (package convention)"]
    np.testing.assert_allclose(four.logits, logits, atol=1e-8)
    eight = overfitting_probability(noise, n_blocks=8, rate=RATE)
    assert len(eight.logits) == expected["n_combinations_S8"]
    assert eight.probability == pytest.approx(expected["pbo_S8"], abs=1e-9)
    assert eight.loss_probability == pytest.approx(expected["prob_oos_loss_S8"], abs=5e-4)


def test_cscv_limits(noise: np.ndarray) -> None:
    expected = load_fixture("pbo__analytic_limits")["values"]
    best = noise.copy()
    best[:, 7] += 10.0
    sixteen = overfitting_probability(best[:, :10], n_blocks=16)
    assert len(sixteen.logits) == expected["C(16,8)"]
    assert sixteen.probability == expected["pbo_when_one_column_dominates_in_every_block"]
    assert (sixteen.chosen == 7).all()
    rng = np.random.default_rng(1)
    runs = [
        overfitting_probability(rng.normal(size=(320, 20)), n_blocks=8).probability
        for _ in range(30)
    ]
    assert np.mean(runs) == pytest.approx(expected["expected_pbo_of_iid_noise"], abs=0.15)


def test_block_sums_are_all_that_cscv_needs(noise: np.ndarray) -> None:
    from_blocks = overfitting_from_blocks(*block_moments(noise, 8), rate=RATE)
    whole = overfitting_probability(noise, n_blocks=8, rate=RATE)
    np.testing.assert_array_equal(from_blocks.logits, whole.logits)


def test_in_sample_performance_equals_the_direct_sharpe_ratio(noise: np.ndarray) -> None:
    result = overfitting_probability(noise, n_blocks=4)
    first = noise[:100]  # blocks 0 and 1 are the first split
    direct = (first.mean(axis=0) / first.std(axis=0, ddof=1)).max()
    assert result.in_sample[0] == pytest.approx(direct)


def test_every_split_equals_ratios_and_ranks_of_its_own_bars(noise: np.ndarray) -> None:
    returns = noise[:, :12].copy()
    returns[:, 3], returns[:, 8] = returns[:, 5], 0.0
    found = overfitting_probability(returns, n_blocks=6, rate=RATE)
    blocks = np.split(np.arange(len(returns)), np.linspace(0, len(returns), 7).astype(int)[1:-1])
    for k, half in enumerate(combinations(range(6), 3)):
        inside = np.concatenate([blocks[b] for b in half])
        outside = np.setdiff1d(np.arange(len(returns)), inside)
        ratios = [_sharpe(returns[rows]) for rows in (inside, outside)]
        best = int(np.argmax(ratios[0]))
        assert found.chosen[k] == best
        assert found.in_sample[k] == pytest.approx(ratios[0][best], rel=1e-9)
        assert found.out_of_sample[k] == pytest.approx(ratios[1][best], rel=1e-9)
        place = rankdata(ratios[1].round(12))[best] / 13
        assert found.logits[k] == pytest.approx(np.log(place / (1 - place)), rel=1e-9)


def _sharpe(returns: np.ndarray) -> np.ndarray:
    deviation = returns.std(axis=0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(deviation > 0, (returns.mean(axis=0) - RATE) / deviation, 0.0)


@pytest.mark.parametrize(("shape", "n_blocks"), [((100, 1), 4), ((100, 5), 3), ((6, 5), 4)])
def test_too_little_for_cscv_is_refused(shape: tuple[int, int], n_blocks: int) -> None:
    with pytest.raises(ValueError, match="block"):
        overfitting_probability(np.random.default_rng(0).normal(size=shape), n_blocks=n_blocks)
