"""Which Cypher texts count as read-only; the wall in front of the engines' own read transactions.

A read transaction stops writes, but not reading of files (LOAD CSV) nor every procedure, and some
engines run several statements at once. The text is split into tokens, strings and comments taken
out, and refused by what is left. It errs on the side of refusing: what it cannot follow for sure
(line separators other than newlines, unicode escapes) is refused as well.
"""

from __future__ import annotations

import re

from graph_etl.errors import StoreError

ALLOWED_PROCEDURES = frozenset(
    {
        "db.labels",
        "db.propertykeys",
        "db.relationshiptypes",
        "db.schema.nodetypeproperties",
        "db.schema.reltypeproperties",
        "db.schema.visualization",
    }
)
MAX_QUERY_CHARACTERS = 100_000
_REFUSED = frozenset(
    (
        *("ALTER", "CREATE", "DELETE", "DENY", "DETACH", "DROP", "FOREACH", "GRANT", "INSERT"),
        *("MERGE", "NODETACH", "REMOVE", "REVOKE", "SET", "TERMINATE"),  # these write
        *("LOAD", "SHOW", "USE"),  # files, the server's own settings, other databases
        *("EXPLAIN", "PROFILE", "FORMAT"),  # no rows of the graph
    )
)
_TOKEN = re.compile(
    r"""
    (?P<comment> //[^\n]* | /\*(?:(?!/\*|\*/).)*\*/ )
  | (?P<string> '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" )
  | (?P<quoted> `(?:[^`]|``)*` )
  | (?P<word> [^\W\d]\w* )
  | (?P<number> \d+ )
  | (?P<space> [ \t\n]+ )
  | (?P<sign> [!#$%&()*+,\-.:;<=>?@\[\]^{|}~] | /(?![*/]) )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\u", re.IGNORECASE)
_ODD_SEPARATOR = re.compile("[\0\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def checked_read_only(cypher: str) -> str:
    """Return ``cypher`` with plain newlines if it is one read-only statement.

    Raises:
        StoreError: It writes, reads files, calls a procedure that is not allowed, is more than one
            statement, or cannot be followed; the message says what was found and what to do.
    """
    cypher = cypher.replace("\r\n", "\n").strip()
    if not cypher:
        raise StoreError("Expected a Cypher query, got an empty text; try 'MATCH (n) RETURN n'")
    if len(cypher) > MAX_QUERY_CHARACTERS:
        raise StoreError(
            f"Expected a Cypher query of at most {MAX_QUERY_CHARACTERS} characters, got "
            f"{len(cypher)}; pass long values as parameters"
        )
    if _ESCAPE.search(cypher):
        raise StoreError(
            "Expected a Cypher query without unicode escapes, got a backslash followed by u; "
            "write the character itself or pass the text as a parameter"
        )
    if odd := _ODD_SEPARATOR.search(cypher):
        raise StoreError(
            f"Expected newlines as the only line separators of a Cypher query, got "
            f"{odd.group()!r} at character {odd.start()}; pass text from outside as a parameter"
        )
    tokens = _tokens(cypher)
    while tokens and tokens[-1][1] == ";":
        tokens.pop()
    for position, (kind, text) in enumerate(tokens):
        if text == ";" and kind == "sign":
            raise StoreError(
                "Expected one Cypher statement, got several joined by ';'; run them one by one"
            )
        if kind == "word" and not _is_name(tokens, position):
            _check_word(tokens, position)
    return cypher


def _tokens(cypher: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while position < len(cypher):
        match = _TOKEN.match(cypher, position)
        if match is None:
            rest = cypher[position : position + 20]
            raise StoreError(
                f"Expected Cypher, got {rest!r} at character {position}: an unclosed string or "
                "comment, or a character that has no place outside strings; pass text from "
                "outside as a parameter"
            )
        kind = str(match.lastgroup)
        if kind not in ("comment", "space"):
            tokens.append((kind, "" if kind == "string" else match.group()))
        position = match.end()
    return tokens


def _is_name(tokens: list[tuple[str, str]], position: int) -> bool:
    """Whether the word is a property, parameter, label or key, and so no clause."""
    before = tokens[position - 1] if position else ("", "")
    after = tokens[position + 1] if position + 1 < len(tokens) else ("", "")
    if before[1] in ("$", ":") or after[1] == ":":
        return True
    owner = tokens[position - 2] if position > 1 else ("", "")
    return before[1] == "." and (owner[0] in ("word", "quoted") or owner[1] in (")", "]", "}"))


def _check_word(tokens: list[tuple[str, str]], position: int) -> None:
    word = tokens[position][1].upper()
    if word in _REFUSED:
        raise StoreError(
            f"Expected a read-only query, got the word {word}; queries may not change the graph "
            "nor read files; put a name that is spelled so in backticks"
        )
    if word == "CALL":
        _check_call(tokens, position + 1)


def _check_call(tokens: list[tuple[str, str]], position: int) -> None:
    if position < len(tokens) and tokens[position][1] in ("{", "("):
        return  # a subquery; its words are checked like all others
    name = ""
    for kind, text in tokens[position:]:
        if kind != "word" and text != ".":
            break
        name += text
    if name.lower() not in ALLOWED_PROCEDURES:
        raise StoreError(
            f"Expected CALL of one of {sorted(ALLOWED_PROCEDURES)}, got '{name or 'no plain name'}'"
            "; other procedures are refused"
        )
