"""Names compared: what words a name is made of, and which entries of a taxonomy a category is most like. No I/O."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from math import fsum, log, sqrt
from typing import Literal

from core.errors import BadInput

SEPARATOR = " > "
Kind = Literal["google", "shopify", "klaviyo"]
KINDS: tuple[Kind, ...] = ("google", "shopify", "klaviyo")
VENDORS: Mapping[Kind, str] = {"google": "Google", "shopify": "Shopify", "klaviyo": "Klaviyo"}

SUGGESTED = 3
"""How many entries are suggested for a category."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A taxonomy that categories are mapped to; `connection_id` names the account where each has its own."""

    kind: Kind
    connection_id: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"there is no taxonomy “{self.kind}”: it is one of {', '.join(KINDS)}")
        if (self.kind == "klaviyo") != (self.connection_id is not None):
            raise BadInput("Klaviyo’s categories are those of one account, Google’s and Shopify’s are everybody’s")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a taxonomy; `path` are the names from the top, with > between them."""

    ref: str
    path: str

    @property
    def name(self) -> str:
        """The last name of its path."""
        return self.path.rpartition(SEPARATOR)[2]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An entry that a category may be: how sure, in percent, and why, in words that complete “it is suggested: …”."""

    ref: str
    path: str
    score: int
    why: tuple[str, ...]


# --- words ------------------------------------------------------------------------------------------------------------

_DROPPED = frozenset(["a", "an", "and", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
_IRREGULAR = {
    "children": "child", "kids": "child", "kid": "child", "men": "man", "mens": "man", "women": "woman",
    "womens": "woman", "knives": "knife", "shelves": "shelf", "scarves": "scarf", "leaves": "leaf", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "dice": "die", "lens": "lens", "gas": "gas", "canvas": "canvas",
    "christmas": "christmas", "series": "series", "movies": "movie", "cookies": "cookie", "ties": "tie", "pies": "pie",
    "shoes": "shoe", "clothes": "clothing",
    "tv": "television", "tvs": "television", "jewellery": "jewelry", "tyre": "tire", "tyres": "tire",
    "colour": "color", "aluminium": "aluminum", "grey": "gray",
}  # fmt: skip
"""What no rule gets right, spellings of both sides of the Atlantic, and the one abbreviation that everybody writes."""

_TOKENS = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_LETTER_AND_HYPHEN = re.compile(r"\b([^\W\d_])-(?=[^\W\d_])")


def words_of(text: str) -> tuple[str, ...]:
    """The words of a name as names are compared: without case, accents, small words and simple plurals; each once."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    # T-Shirt and TShirt are one word.
    joined = _LETTER_AND_HYPHEN.sub(r"\1", plain)
    found = (_stem(token) for token in _TOKENS.findall(joined))
    return tuple(dict.fromkeys(word for word in found if word not in _DROPPED))


@lru_cache(maxsize=50_000)
def _stem(token: str) -> str:
    """A word without what makes it a plural or a genitive: accessories → accessory, watches → watch, men's → man."""
    word = re.sub(r"['’]s?$", "", token).replace("'", "").replace("’", "")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


# --- suggestions ------------------------------------------------------------------------------------------------------

_NAME_SHARE, _PLACE_SHARE = 0.72, 0.28
_IN_PLACE = 0.35
"""What a word of the name counts where the entry has it above its own name only, or the other way round."""
_OTHER_NAME_MAX = 0.9
"""How alike a name can be at most that is not the same."""
_STRANGE = 0.5
"""What a word counts that no entry has anywhere."""
_AS_GOOD = 0.03
_DOUBTED_MAX = 69
"""The most that an entry gets, in percent, while another of the same name is in as good a place."""
_LOOKED_AT = 120
"""Of so many entries name and place are compared in full."""
_WORTH_TELLING = 30
"""Below so many percent a likeness is chance."""
_BESIDES, _BESIDES_SHARE = frozenset({"accessory", "part"}), 0.85
"""What belongs to a thing is not the thing: words so frequent that they would weigh next to nothing."""


class Index:
    """The entries of one taxonomy, ready to be compared with many categories."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = sorted(entries, key=lambda entry: (entry.path, entry.ref))
        self._names = [frozenset(words_of(entry.name)) for entry in self.entries]
        self._places = [frozenset(words_of(entry.path[: -len(entry.name)])) for entry in self.entries]
        self._of_name: defaultdict[str, list[int]] = defaultdict(list)
        self._of_place: defaultdict[str, list[int]] = defaultdict(list)
        for number, (name, place) in enumerate(zip(self._names, self._places, strict=True)):
            for word in name:
                self._of_name[word].append(number)
            for word in place - name:
                self._of_place[word].append(number)
        self._idf: dict[str, float] = {}
        self._length = [self._sum(name) or 1.0 for name in self._names]

    def suggest(self, path: str, most: int = SUGGESTED) -> list[Suggestion]:
        """The entries that a category with this path is most like, the likeliest first; those of its name before all
        others. None where no word of its name is any entry's."""
        *above, own = path.split(SEPARATOR)
        name, place = frozenset(words_of(own)), frozenset(words_of(" ".join(above)))
        found = sorted(
            (
                (*self._score(number, name, place), -len(self.entries[number].path), -number)
                for number in self._like(name)
            ),
            reverse=True,
        )[: most + 1]
        is_doubted = len(found) > 1 and found[0][0] and found[1][0] and found[0][1] - found[1][1] < _AS_GOOD
        return [
            Suggestion(self.entries[-minus].ref, self.entries[-minus].path, percent, self._why(-minus, name, place))
            for _, score, _, minus in found[:most]
            if (percent := min(round(score * 100), _DOUBTED_MAX if is_doubted else 100)) >= _WORTH_TELLING
        ]

    def _like(self, name: frozenset[str]) -> Sequence[int]:
        """Entries that share a word with the name: in their own name, or above it where they share none there. Of
        many only those whose names are most alike: the others cannot come first."""
        shared: defaultdict[int, float] = defaultdict(float)
        for word in sorted(name):
            weight = self._weight(word)
            for number in self._of_name.get(word, ()):
                shared[number] += weight
        if not shared:
            return sorted({number for word in name for number in self._of_place.get(word, ())})[:_LOOKED_AT]
        alike = {
            number: (self._names[number] == name, same / sqrt(self._length[number]), -number)
            for number, same in shared.items()
        }
        return nlargest(_LOOKED_AT, alike, key=alike.__getitem__)

    def _score(self, number: int, name: frozenset[str], place: frozenset[str]) -> tuple[bool, float]:
        """Whether it has the very name, and how alike name and place are, from 0 to 1."""
        its_name, its_place = self._names[number], self._places[number]
        same = self._sum(name & its_name)
        # A word that one has in its name and the other above it is the same thing said elsewhere.
        shifted = self._sum((name - its_name) & its_place) + self._sum((its_name - name) & place)
        lengths = sqrt(self._sum(name) * self._length[number]) or 1.0
        alike = min(1.0 if name == its_name else _OTHER_NAME_MAX, (same + _IN_PLACE * shifted) / lengths)
        if name.isdisjoint(_BESIDES) != its_name.isdisjoint(_BESIDES):
            alike *= _BESIDES_SHARE
        return name == its_name, _NAME_SHARE * alike + _PLACE_SHARE * self._context(number, name, place)

    def _context(self, number: int, name: frozenset[str], place: frozenset[str]) -> float:
        """How much of what stands above the one is anywhere in the other, from 0 to 1. Words that both have in their
        names say nothing of the place."""
        its_name, its_place = self._names[number], self._places[number] - name
        around = place - its_name
        both = self._sum(around & (its_place | its_name)) + self._sum(its_place & (around | name))
        told = self._sum(around) + self._sum(its_place)
        return sqrt(both / told) if told else 1.0

    def _sum(self, words: Iterable[str]) -> float:
        # Exact, so that no order of a set matters: what was previewed is what is accepted, in any process.
        return fsum(self._weight(word) for word in words)

    def _weight(self, word: str) -> float:
        """How much a word says: the fewer entries have it in their names, the more. One that none has anywhere, a
        brand's or a campaign's, says less than it seems."""
        known = self._idf.get(word)
        if known is None:
            known = log(1 + len(self.entries) / (1 + len(self._of_name.get(word, ()))))
            if word not in self._of_name and word not in self._of_place:
                known *= _STRANGE
            self._idf[word] = known
        return known

    def _why(self, number: int, name: frozenset[str], place: frozenset[str]) -> tuple[str, ...]:
        its_name, its_place = self._names[number], self._places[number]
        said = []
        if name == its_name:
            said.append("the same name")
        elif shared := self._told(name & its_name):
            said.append(f"its name has {shared} too")
        if elsewhere := self._told((name - its_name) & its_place):
            said.append(f"it is below {elsewhere}")
        if around := self._told((place & (its_place | its_name)) - name):
            said.append(f"both are about {around}")
        return tuple(said)

    def _told(self, words: Iterable[str]) -> str:
        """The few words that say most."""
        ordered = sorted(words, key=lambda word: (-self._weight(word), word))
        return ", ".join(f"“{word}”" for word in ordered[:3])


def suggest(path: str, entries: Sequence[Entry]) -> list[Suggestion]:
    """The entries that a category with this path is most like; for many categories make one `Index`."""
    return Index(entries).suggest(path)
