r"""Purchase histories enter, expected revenue leaves: BG/NBD for how often, Gamma-Gamma for how much a time.

The models that marketing uses for customers who buy when they like, as `lifetimes` implements them. They need no label:
what they are fitted to is the histories themselves.

- BG/NBD [Fader, Hardie and Lee 2005]: a customer buys at Poisson rate λ ~ Gamma(r, α) and leaves after a purchase with
  probability p ~ Beta(a, b).
- Gamma-Gamma [Fader and Hardie 2013]: what a customer spends a time is Gamma(p, ν) with ν ~ Gamma(q, γ), whatever the
  rate.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import DataError, InputError
from training.evaluation.ranking import Floats

DAYS_A_WEEK = 7.0


@dataclass(frozen=True, slots=True)
class Rfm:
    """What the two models know of n customers; a purchase is a day on which something was bought.

    Parameters
    ----------
    frequency : ndarray of shape (n,), float64
        Purchases after the first.
    recency : ndarray of shape (n,), float64, days
        From the first purchase to the last.
    age : ndarray of shape (n,), float64, days
        From the first purchase to the cut.
    monetary : ndarray of shape (n,), float64, US dollars
        Mean of the purchases after the first; 0 where there is none.
    total : ndarray of shape (n,), float64, US dollars
        Of all purchases.
    """

    frequency: Floats
    recency: Floats
    age: Floats
    monetary: Floats
    total: Floats

    def features(self) -> Floats:
        """(n, 5) recency as days since the last purchase, frequency, monetary value, age and total."""
        since = self.age - self.recency
        return np.column_stack([since, self.frequency, self.monetary, self.age, self.total])


def summarise(owner: NDArray[np.int64], days_before: Floats, dollars: Floats, n: int) -> Rfm:
    """Summarise purchases.

    Parameters
    ----------
    owner : ndarray of shape (m,), int64
        The customer of each purchase, 0 … n − 1; each has one at least.
    days_before : ndarray of shape (m,), float64
        Days from the purchase to the cut, ≥ 0; a customer and day at most once.
    dollars : ndarray of shape (m,), float64
    n : int
    """
    age, since = np.full(n, -np.inf), np.full(n, np.inf)
    np.maximum.at(age, owner, days_before)
    np.minimum.at(since, owner, days_before)
    again = days_before < age[owner]
    frequency = np.bincount(owner[again], minlength=n).astype(np.float64)
    spent_again = np.bincount(owner[again], dollars[again], minlength=n)
    monetary = np.divide(spent_again, frequency, out=np.zeros(n), where=frequency > 0)
    total = np.bincount(owner, dollars, minlength=n).astype(np.float64)
    return Rfm(frequency, age - since, age, monetary, total)


@dataclass(frozen=True)
class PurchaseModels:
    """Fitted models. `purchases` and `spend` hold the parameters by name, time in weeks and money in dollars."""

    purchases: dict[str, float]
    spend: dict[str, float]
    _bgnbd: object
    _gamma_gamma: object

    @classmethod
    def fit(cls, rfm: Rfm) -> PurchaseModels:
        """Maximise both likelihoods, without penalty.

        Parameters
        ----------
        rfm : Rfm
            Of the customers whose histories may be seen.

        Raises
        ------
        InputError
            The extra that these models need is not installed.
        DataError
            The histories leave a likelihood without a maximum, as those of customers who are all alike do.
        """
        bgnbd_class, gamma_gamma_class = _fitters()
        bgnbd, gamma_gamma = bgnbd_class(penalizer_coef=0.0), gamma_gamma_class(penalizer_coef=0.0)
        paying = (rfm.frequency > 0) & (rfm.monetary > 0)  # a mean of 0 dollars has no likelihood
        with _converging("BG/NBD"):
            bgnbd.fit(rfm.frequency, rfm.recency / DAYS_A_WEEK, rfm.age / DAYS_A_WEEK)
        with _converging("Gamma-Gamma"):
            gamma_gamma.fit(rfm.frequency[paying], rfm.monetary[paying])
        named = [{str(k): float(v) for k, v in one.params_.items()} for one in (bgnbd, gamma_gamma)]
        return cls(named[0], named[1], bgnbd, gamma_gamma)

    def expected_purchases(self, rfm: Rfm, days: float) -> Floats:
        """(n,) expected purchases within `days` after the cut, given the history."""
        history = rfm.frequency, rfm.recency / DAYS_A_WEEK, rfm.age / DAYS_A_WEEK
        found = self._bgnbd.conditional_expected_number_of_purchases_up_to_time(days / DAYS_A_WEEK, *history)  # type: ignore[attr-defined]
        return np.asarray(found, dtype=np.float64)

    def expected_spend(self, rfm: Rfm) -> Floats:
        """(n,) expected US dollars a purchase, given the history; without a second purchase that of everyone."""
        found = self._gamma_gamma.conditional_expected_average_profit(rfm.frequency, rfm.monetary)  # type: ignore[attr-defined]
        return np.asarray(found, dtype=np.float64)

    def expected_revenue(self, rfm: Rfm, horizons: tuple[int, ...]) -> Floats:
        """(n, n_horizons) expected US dollars within each horizon, days after the cut."""
        spend = self.expected_spend(rfm)
        return np.column_stack([self.expected_purchases(rfm, float(days)) * spend for days in horizons])


@contextlib.contextmanager
def _converging(model: str) -> Iterator[None]:
    from lifetimes.utils import ConvergenceError

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where it prints how the search went
            yield
    except ConvergenceError:
        raise DataError(f"{model}: expected histories that its likelihood has a maximum on, found none") from None


def _fitters() -> tuple[type, type]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it sets an option that pandas no longer has
            from lifetimes import BetaGeoFitter, GammaGammaFitter
    except ImportError as fault:
        raise InputError(f"BG/NBD needs the extra `cdnow`: run scripts/setup.sh cdnow ({fault})") from None
    return BetaGeoFitter, GammaGammaFitter
