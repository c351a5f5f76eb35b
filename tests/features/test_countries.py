"""The country table against what ISO 3166-1 is known to hold."""

from __future__ import annotations

from app.features.countries import ALPHA2_BY_ALPHA3, ALPHA3_BY_ALPHA2


def test_every_assigned_code_is_there_once() -> None:
    """249 entries, one alpha-2 for one alpha-3, in the case the wire and the raw table use."""
    assert len(ALPHA2_BY_ALPHA3) == len(ALPHA3_BY_ALPHA2) == 249
    assert all(len(three) == 3 and three.isupper() and three.isascii() for three in ALPHA2_BY_ALPHA3)
    assert all(len(two) == 2 and two.islower() and two.isascii() for two in ALPHA3_BY_ALPHA2)


def test_codes_whose_letters_mislead_are_right() -> None:
    """Countries whose alpha-2 is not the head of their alpha-3 map as the standard has them."""
    expected = (
        "AUT=at AUS=au CHE=ch CHL=cl CHN=cn PRT=pt PRY=py SWE=se SVN=si SVK=sk UKR=ua ARE=ae DNK=dk IRL=ie IRQ=iq"
    )
    expected += " KOR=kr PRK=kp TUR=tr GBR=gb MEX=mx POL=pl BGD=bd GRL=gl CIV=ci COD=cd COG=cg SRB=rs MNE=me EST=ee"
    assert all(ALPHA2_BY_ALPHA3[pair[:3]] == pair[4:] for pair in expected.split())
