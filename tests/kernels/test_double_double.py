"""Sums that do not depend on the order of their terms."""

import random
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from styleplugin.kernels.double_double import DoubleDouble

TERMS = st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=1, max_size=40)


def total_of(terms: list[float]) -> DoubleDouble:
    return DoubleDouble.total(torch.tensor(terms, dtype=torch.float64))


@given(terms=TERMS, seed=st.integers(0, 99))
def test_sums_are_those_of_exact_arithmetic_in_any_order_and_grouping(terms, seed):
    shuffled = random.Random(seed).sample(terms, len(terms))
    cut = seed % len(terms)
    parts = total_of(shuffled[cut:]) + (total_of(shuffled[:cut]) if cut else DoubleDouble.zeros())
    # Where terms cancel, what is left has fewer of the digits.
    tolerance = 1e-30 * sum(abs(term) for term in terms)
    for total in (total_of(terms), parts):
        kept = Fraction(float(total.high)) + Fraction(float(total.low))
        assert abs(kept - sum(map(Fraction, terms))) <= tolerance
        assert float(total.rounded()) == float(kept)


def test_only_the_first_dimension_is_added_up():
    terms = torch.arange(30, dtype=torch.float64).view(5, 2, 3)
    assert torch.equal(DoubleDouble.total(terms).rounded(), terms.sum(0))
