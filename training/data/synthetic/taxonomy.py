"""What advertisers sell: categories, their subcategories and bottom levels, with the market's published figures.

Enters: nothing. Leaves: three aligned vocabularies (category, subcategory, bottom level) and the parents between them.
Rows, buyer rate and mean seven-day revenue by category are those of one day of the original data, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# category | rows of the day | buyer rate d7 | mean revenue d7 | subcategory: bottom, bottom; …
_TABLE = """
game|909645|0.0131|0.254|puzzle: match blast, hidden objects, block puzzle; casual: hypercasual stack; \
strategy: auto battler, war sim; adventure: interactive story, survival; sports: football manager, pool; \
music: rhythm; family: coloring; shooter: first person shooter
sport betting|708818|0.0203|0.184|sportsbook: football betting, live betting; fantasy: daily fantasy, season fantasy
games|608456|0.0347|0.819|puzzle: match swap, bubble shooter, jigsaw, sort; \
casual: idle clicker, tycoon crafting, merge; word: word search, crossword; card: solitaire, rummy; \
strategy: 4x strategy, tower defense; role playing: squad rpg, idle rpg, mmorpg; \
simulation: life sim, farming sim, driving sim; action: battle royale, platformer; \
arcade: endless runner, brick breaker; board: ludo, chess; racing: street racing; \
trivia: quiz
application|379740|0.0682|10.891|tools: vpn, cleaner; dating: swipe dating, video dating; \
ai: chat assistant, image generator; reader: serial fiction, manga
finance|154155|0.0093|1.662|banking: neobank, credit score; trading: stock trading, crypto exchange; loans: microloans
social networking|119523|0.0129|0.202|messaging: messenger, live streaming; community: forums
shopping|39117|0.1041|4.031|marketplace: marketplace, fashion; deals: coupons
food & drink|24570|0.2011|1.429|delivery: meal delivery, grocery delivery; restaurants: fast food
real money casino|18368|0.1512|11.609|slots: real money slots; table: poker, roulette
lifestyle|18081|0.2742|3.849|wellbeing: astrology, meditation; home: smart home
travel|15356|0.1277|11.862|booking: hotels; rides: ride hailing
health & fitness|11060|0.0213|0.704|workout: workout plans; diet: calorie counter
casino|9000|0.1512|11.609|slots: social slots; bingo: bingo
photo & video|5784|0.0757|2.964|editors: photo editor, video editor; short video: short drama
utilities|2979|0.0027|0.033|keyboard: keyboard themes
productivity|2469|0.2244|5.552|office: document scanner
education|1593|0.2172|18.714|language: language learning; kids: early learning
entertainment|1552|0.0664|0.470|streaming: tv streaming, music streaming
lottery|408|0.2083|3.651|draw: lottery draw
books|196|0.3214|10.090|audio: audiobooks
sports|178|0.1629|11.582|news: live scores
navigation|43|0.4651|93.019|maps: road maps
"""


@dataclass(frozen=True)
class Taxonomy:
    """Three levels of names and the way up.

    Attributes
    ----------
    categories, subcategories, bottoms : list of str
        22, 56 ("games/puzzle") and 91 ("match swap") names.
    rows, buyer_rate, revenue : ndarray of shape (22,), float64
        Rows of the original day, share of buyers, mean d7 revenue in US dollars a row.
    subcategory_of : ndarray of shape (91,), int64
        Subcategory of each bottom level.
    category_of : ndarray of shape (91,), int64
        Category of each bottom level.
    """

    categories: list[str]
    subcategories: list[str]
    bottoms: list[str]
    rows: NDArray[np.float64]
    buyer_rate: NDArray[np.float64]
    revenue: NDArray[np.float64]
    subcategory_of: NDArray[np.int64]
    category_of: NDArray[np.int64]


def read_taxonomy() -> Taxonomy:
    """Parse the table above. Names are unique within each level."""
    categories: list[str] = []
    subcategories: list[str] = []
    bottoms: list[str] = []
    figures, parents = [], []
    for line in _TABLE.strip().splitlines():
        category, rows, rate, revenue, branches = line.split("|")
        figures.append((float(rows), float(rate), float(revenue)))
        for branch in branches.split(";"):
            name, leaves = branch.split(":")
            for leaf in leaves.split(","):
                bottoms.append(leaf.strip())
                parents.append((len(subcategories), len(categories)))
            subcategories.append(f"{category}/{name.strip()}")
        categories.append(category)
    rows_, rates, revenues = np.array(figures, dtype=np.float64).T.copy()
    above = np.array(parents, dtype=np.int64)
    return Taxonomy(categories, subcategories, bottoms, rows_, rates, revenues, above[:, 0].copy(), above[:, 1].copy())
