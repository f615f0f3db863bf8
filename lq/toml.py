"""TOML with line numbers, which tomllib does not give, and values written as TOML.

Owns: turning the bytes of a file into a table, and saying on which line each key stands.
Never judges what the keys mean. The scan for lines relies on tomllib having accepted the
text; it skips values rather than reading them a second time.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KeyPath = tuple[str, ...]

_LEXEME = re.compile(
    r'''
      (?P<space>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<string> """(?:\\.|[^\\])*?"""(?:""?(?!"))?
                | \'\'\'.*?\'\'\'(?:\'\'?(?!\'))?
                | "(?:\\.|[^"\\\n])*"
                | '[^'\n]*' )
    | (?P<mark>[\[\]{},=.])
    | (?P<word>[^\s\[\]{},=."'\#]+)
    ''',
    re.VERBOSE | re.DOTALL,
)


class NotToml(ValueError):
    """The bytes are not a TOML document; `line` (from 1) is where reading stopped."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def decode(data: bytes) -> str:
    """The text of a file, without a byte order mark. Raises: NotToml."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotToml(line, "not UTF-8 text") from None


def parse(text: str) -> dict[str, Any]:
    """The table a text describes. Raises: NotToml."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _located(str(error), text) from None
    except RecursionError:
        raise NotToml(1, "nested too deeply") from None


def _located(message: str, text: str) -> NotToml:
    """Tomllib's one-line message, its position and its Python tuples put in TOML's own words."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    line = text.count("\n") + 1
    if found:
        message = message[: found.start()]
        line = int(found[1] or line)
    if table := re.search(r"\('(.*)',?\)", message):
        message = message.replace(table[0], f"[{table[1]}]".replace("', '", "."))
    return NotToml(line, message)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, on which each table and key first appears.

    Shape: `{("dispatch",): 3, ("dispatch", "timeout"): 4, ("queues", "/api/mail"): 7, …}`; keys
    of inline tables are included, those inside inline arrays are not. The tables of an array,
    `[[schedules]]`, are numbered: `("schedules", "0", "key")`.
    """
    return _Scan(text).lines


class _Scan:
    """One pass over the text. `self.lexeme` is the next one that is neither space nor comment."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.arrays: dict[KeyPath, int] = {}  # of tables -> the number of the last one
        self.lexemes = self._lexemes(text)
        self.line = 1
        self.kind = self.lexeme = ""
        self.step()
        self.document()

    @staticmethod
    def _lexemes(text: str) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in _LEXEME.finditer(text):
            kind, lexeme = match.lastgroup or "", match.group()
            if kind != "space":
                yield kind, lexeme, line
            line += lexeme.count("\n")

    def step(self) -> None:
        self.kind, self.lexeme, self.line = next(self.lexemes, ("end", "", self.line))

    def document(self) -> None:
        table: KeyPath = ()
        while self.kind != "end":
            if self.lexeme == "[":
                table = self.header()
            elif self.kind != "newline":
                self.assignment(table)
            while self.kind not in {"newline", "end"}:
                self.step()
            self.step()

    def header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]`; in the path each array of tables is followed by a number."""
        brackets = 0
        while self.lexeme == "[":
            brackets += 1
            self.step()
        line = self.line
        table: KeyPath = ()
        for name in self.names():
            table = (*table, name)
            self.lines.setdefault(table, line)
            if table in self.arrays:
                table = (*table, str(self.arrays[table]))
        if brackets == 2:
            array = table[:-1] if table[:-1] in self.arrays else table
            number = self.arrays[array] = self.arrays.get(array, -1) + 1
            table = (*array, str(number))
            self.lines.setdefault(table, line)
        return table

    def assignment(self, table: KeyPath) -> None:
        key = self.key(table)
        if self.lexeme == "=":
            self.step()
        self.value(key)

    def key(self, table: KeyPath) -> KeyPath:
        """Read a dotted key and note its line, and that of each table it implies."""
        for name in self.names():
            table = (*table, name)
            self.lines.setdefault(table, self.line)
        return table

    def names(self) -> Iterator[str]:
        """The parts of a dotted key; each is given while it is the lexeme."""
        while self.kind in {"word", "string"} or self.lexeme == ".":
            if self.lexeme != ".":
                yield self.name()
            self.step()

    def name(self) -> str:
        if self.kind == "word":
            return self.lexeme
        value: str = tomllib.loads(f"name = {self.lexeme}")["name"]
        return value

    def value(self, key: KeyPath) -> None:
        if self.lexeme == "{":
            self.step()
            while self.lexeme != "}" and self.kind != "end":
                if self.lexeme == "," or self.kind == "newline":
                    self.step()
                else:
                    self.assignment(key)
            self.step()
        elif self.lexeme == "[":
            self.array()
        while self.kind not in {"newline", "end"} and self.lexeme not in {",", "}"}:
            self.step()

    def array(self) -> None:
        depth = 0
        while self.kind != "end":
            depth += (self.lexeme in {"[", "{"}) - (self.lexeme in {"]", "}"})
            self.step()
            if depth == 0:
                return


def literal(value: object) -> str:
    """A value as it stands behind a key. Shape: what is none of TOML's own is taken as text."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Mapping():
            return f"{{ {', '.join(f'{_text(n)} = {literal(v)}' for n, v in value.items())} }}"
        case str():
            return _text(value)
        case Sequence():
            return f"[{', '.join(map(literal, value))}]"
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    # JSON's escapes are TOML's; only DEL must not stand there as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
