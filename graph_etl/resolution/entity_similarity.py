"""How alike two names of one kind are, by rules that a person could give as reasons.

Gives a score and the reason; which score is enough, and what a group of names may be, is the
business of entity_merges.py. Sums of letters alone say little about names: of two people whose
names differ by one letter, most are two people. So a rule must explain every word that differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import OSA

from graph_etl.resolution.entity_names import NameForms, NameKind

_BRITISH = (("isation", "ization"), ("ours", "ors"), ("our", "or"), ("ise", "ize"), ("tre", "ter"))


@dataclass(frozen=True)
class Likeness:
    """How alike two names are.

    Attributes:
        score: 0-1; 0.93 and more where a rule is nearly always right, 0.8-0.9 where somebody
            should look, 0 where the names contradict each other or no rule explains them.
        evidence: The rule, in words.
    """

    score: float
    evidence: str


_UNEXPLAINED = Likeness(0.0, "unexplained difference")


def likeness(one: NameForms, other: NameForms, kind: NameKind) -> Likeness:
    """Return how alike two names are; symmetric.

    Args:
        one: A name's forms.
        other: Those of another name of the same kind.
        kind: What the names name.
    """
    if one.key == other.key:
        return Likeness(1.0, "equal but for accents, punctuation and initials")
    if one.numbers != other.numbers:
        return Likeness(0.0, "numbers differ")
    if one.bracket != other.bracket:
        return _with_brackets(one, other, kind)
    if kind == "person":
        return _people(one, other)
    if kind == "organisation":
        return _organisations(one, other)
    return _words(one.tokens, other.tokens)


def _with_brackets(one: NameForms, other: NameForms, kind: NameKind) -> Likeness:
    """A bracket that one name lacks: its own abbreviation, or something that tells two apart."""
    if one.bracket and other.bracket:
        return Likeness(0.0, "brackets differ")
    if one.tokens != other.tokens or one.suffix != other.suffix:
        return Likeness(0.0, "a bracket and more differ")
    initials = "".join(token[0] for token in (*one.tokens, *one.suffix.split()))
    if kind == "organisation" and "".join(one.bracket or other.bracket) == initials:
        return Likeness(0.95, "its abbreviation in brackets")
    return Likeness(0.85, "one has a bracket")


def _organisations(one: NameForms, other: NameForms) -> Likeness:
    if one.tokens == other.tokens:
        if one.suffix and other.suffix and not _one_continues(one.suffix, other.suffix):
            return Likeness(0.88, "legal forms differ")
        return Likeness(0.95, "one lacks a legal form")
    alike = _words(one.tokens, other.tokens)
    if one.suffix == other.suffix or alike.score < 0.9:
        return alike
    return Likeness(0.88, f"{alike.evidence} and a legal form")


def _one_continues(one: str, other: str) -> bool:
    shorter, longer = sorted((one.split(), other.split()), key=len)
    return longer[: len(shorter)] == shorter


def _people(one: NameForms, other: NameForms) -> Likeness:
    if one.suffix != other.suffix:  # father and son
        return Likeness(0.0, "suffixes differ")
    a, b = one.tokens, other.tokens
    if min(len(a), len(b)) > 1 and "".join(a) == "".join(b):
        return Likeness(0.97, "equal but for spaces")
    if sorted(a) == sorted(b):
        turned = any(a[i:] + a[:i] == b for i in range(1, len(a)))
        if turned and len(a) > 2:
            return Likeness(0.94, "family name first or last")
        return Likeness(0.86, "the same words in another order")  # Keith David, David Keith
    if len(a) < 2 or len(b) < 2:
        return _one_letter(a, b)
    if a[-1] != b[-1]:
        return _one_letter(a, b)
    return _given_names(a[:-1], b[:-1]) or _one_letter(a, b)


def _given_names(one: tuple[str, ...], other: tuple[str, ...]) -> Likeness | None:
    """Compare given names under one family name; None where a rule for letters may still hold."""
    if len(one) != len(other):
        shorter, longer = sorted((one, other), key=len)
        if longer[: len(shorter)] == shorter:
            return Likeness(0.84, "one lacks a middle name")
        return Likeness(0.0, "given names differ")
    differing = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    if not all(_initial_of(a, b) for a, b in differing):
        return None
    if one[0] == other[0]:
        return Likeness(0.95, "middle name or its initial")
    return Likeness(0.82, "first name or its initial")


def _initial_of(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) == 1 and len(longer) > 1 and longer.startswith(shorter)


def _one_letter(one: tuple[str, ...], other: tuple[str, ...]) -> Likeness:
    """One long word that differs by one letter behind its first; worth a look, never sure."""
    differing = _differing(one, other)
    if differing is not None and len(differing) == 1:
        (a, b), = differing  # fmt: skip
        if min(len(a), len(b)) >= 5 and a[0] == b[0] and OSA.distance(a, b) == 1:
            return Likeness(0.81, "one letter differs")
    return _UNEXPLAINED


def _words(one: tuple[str, ...], other: tuple[str, ...]) -> Likeness:
    if len("".join(one)) >= 6 and "".join(one) == "".join(other):
        return Likeness(0.97, "equal but for spaces")
    if sorted(one) == sorted(other):
        return Likeness(0.86, "the same words in another order")
    differing = _differing(one, other)
    if differing is None:
        return _UNEXPLAINED
    reasons = [_word_reason(a, b) for a, b in differing]
    found = [reason for reason in reasons if reason]
    if len(found) < len(reasons):
        return _one_letter(one, other)
    if len(found) == 1:
        return Likeness(0.93, found[0])
    return Likeness(0.88, " and ".join(sorted(set(found))) + " in several words")


def _word_reason(one: str, other: str) -> str:
    """Return why two words are one word spelled in two ways; "" where they are not."""
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) >= 4 and longer in _plurals(shorter):
        return "singular and plural"
    if min(len(one), len(other)) < 5:
        return ""
    if any(
        one.removesuffix(a) + b == other or other.removesuffix(a) + b == one
        for a, b in _BRITISH
        if one.endswith(a) or other.endswith(a)
    ):
        return "British and American spelling"
    if len(shorter) >= 6 and one[0] == other[0] and _undoubled(one) == _undoubled(other):
        return "a double letter"
    return ""


def _plurals(word: str) -> tuple[str, ...]:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (f"{word}es",)
    return (f"{word}s", f"{word[:-1]}ies") if word.endswith("y") else (f"{word}s",)


def _undoubled(word: str) -> str:
    """Return a word with double consonants as single ones; "parolee" is not "parole"."""
    return "".join(c for i, c in enumerate(word) if not i or c in "aeiou" or c != word[i - 1])


def _differing(one: tuple[str, ...], other: tuple[str, ...]) -> list[tuple[str, str]] | None:
    """Return the words that differ at the same place; None where the numbers of words differ."""
    if len(one) != len(other):
        return None
    return [(a, b) for a, b in zip(one, other, strict=True) if a != b]
