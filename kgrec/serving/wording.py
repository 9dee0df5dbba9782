"""Facts of the graph in words: phrases of the graph put together into one short reason.

A phrase reads "HEAD <phrase> TAIL", as the data set's schema gives it; nothing here knows any
relation by name.
"""

from __future__ import annotations

from collections.abc import Sequence

_IRREGULAR = {"is": "are", "was": "were", "has": "have", "does": "do"}
_AUXILIARIES = {*_IRREGULAR, *_IRREGULAR.values()}


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def plural(phrase: str) -> str:
    """Return a phrase whose subject was one as if it were two.

    >>> plural("was directed by"), plural("stars"), plural("directed by")
    ('were directed by', 'star', 'directed by')
    """
    verb, _, rest = phrase.partition(" ")
    return f"{_plural_verb(verb)} {rest}".strip()


def both_share(phrases: Sequence[str], names: Sequence[str]) -> str:
    """Return that both items stand in these relations to these entities, without "both".

    >>> both_share(["was directed by", "was written by"], ["Ann"])
    'were directed by and written by Ann'
    """
    return f"{_joined([plural(phrase) for phrase in phrases])} {listed(names)}"


def touch_both(phrases: Sequence[str], names: Sequence[str]) -> str:
    """Return that these entities stand in these relations to both items.

    >>> touch_both(["acted in"], ["Ann", "Bob"])
    'Ann and Bob acted in both'
    """
    verbs = phrases if len(names) == 1 else [plural(phrase) for phrase in phrases]
    return f"{listed(names)} {_joined(verbs)} both"


def fact(head: str, phrase: str, tail: str) -> str:
    """Return one triple in words."""
    return f"{head} {phrase} {tail}"


def _joined(phrases: Sequence[str]) -> str:
    """Join phrases; an auxiliary that some share comes first, and is said once.

    >>> _joined(["star", "were directed by", "were written by"])
    'were directed by, written by and star'
    """
    said: set[str] = set()
    parts = []
    for phrase in sorted(phrases, key=lambda phrase: phrase.partition(" ")[0] not in _AUXILIARIES):
        verb, _, rest = phrase.partition(" ")
        parts.append(rest if verb in said else phrase)
        said |= {verb} & _AUXILIARIES
    return listed(parts)


def _plural_verb(verb: str) -> str:
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if len(verb) > 3 and verb.endswith("ies"):
        return f"{verb[:-3]}y"
    if verb.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return verb[:-2]
    if len(verb) > 3 and verb.endswith("s") and not verb.endswith(("ss", "us", "is")):
        return verb[:-1]
    return verb
