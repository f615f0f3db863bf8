"""Reading cron rules: text -> Rule, or a CronError that says what to write instead.

Owns: the grammar, and the refusal of what other crons accept but understand differently.

    rule   = [second] minute hour day month weekday | nickname
    field  = item *("," item)
    item   = ("*" | value ["-" value]) ["/" step]; "value/step" runs to the field's end
           | "?", alone in a day field
           | "L" | "L-" n | "LW" | value "W"     (day of month)
           | value "#" n | value "L"             (day of week)

Invariant: a text that parses fires some day, and means the same for ever: nothing in it is
random, or counted from when it was read.

Source: crontab(5) of Debian's cron; L, W and # as in Quartz, with cron's numbers for weekdays.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from msgspec import Struct

from lq.cron.rule import Field, FromEnd, Nearest, Nth, Rule, Step, Times, calendar_of

MAX_LENGTH: Final = 512

_FORM: Final = "minute hour day-of-month month day-of-week"
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class CronError(ValueError):
    """A text that is no cron rule: one sentence on what is wrong, and what is accepted.

    Shape: `position` is the offset of the offending piece in the text, from 0; `field` names
    the field it stands in ("minute", "day of month" …), if it stands in one.
    """

    def __init__(self, message: str, position: int, field: str | None = None) -> None:
        super().__init__(message)
        self.position = position
        self.field = field


class _Kind(Struct, frozen=True):
    """What one field accepts. The weekday 7 is written, but never stored."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def accepts(self) -> str:
        numbers = f"{self.low} to {self.high}"
        return f"{numbers} or {self.names[0]} to {self.names[-1]}" if self.names else numbers

    @property
    def last(self) -> int:
        """The last value of `*` and `value/step`."""
        return 6 if self is _WEEKDAY else self.high


_SECOND: Final = _Kind("second", 0, 59)
_MINUTE: Final = _Kind("minute", 0, 59)
_HOUR: Final = _Kind("hour", 0, 23)
_DAY: Final = _Kind("day of month", 1, 31)
_MONTH: Final = _Kind("month", 1, 12, _MONTHS)
_WEEKDAY: Final = _Kind("day of week", 0, 7, _WEEKDAYS)
_KINDS: Final = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
_MISPLACED: Final = {
    _DAY.name: "W follows a single day, as in 15W; L stands alone, or as L-1 to L-30 or LW",
    _WEEKDAY.name: "# and L follow a single weekday, as in 1#2 for the second Monday of the month"
    " and 6L for its last Saturday",
}


def parse(text: str) -> Rule:
    """Read a rule of five fields, of six with seconds first, or a nickname such as "@daily".

    Raises: CronError, also for what never fires.
    """
    if len(text) > MAX_LENGTH:
        raise CronError(
            f"a cron expression has at most {MAX_LENGTH} characters, this one {len(text)}", 0
        )
    strange = re.search(r"[^!-~ \t]", text)
    if strange:
        raise CronError(
            f"{strange.group()!a} is no character of a cron expression, which is plain ASCII"
            " with spaces or tabs between its fields",
            strange.start(),
        )
    words = [(match.group(), match.start()) for match in re.finditer(r"[^ \t]+", text)]
    if not words:
        raise CronError(f'the expression is empty: write five fields, "{_FORM}"', 0)
    if words[0][0].startswith("@"):
        return _nickname(words)
    _check_count(words)
    try:
        return _rule(words, " ".join(word for word, _ in words))
    except CronError as error:
        raise _with_order(words, error) from None


def _nickname(words: list[tuple[str, int]]) -> Rule:
    (name, position), *rest = words
    expanded = _NICKNAMES.get(name.lower())
    if name.lower() == "@every":
        interval = rest[0][0] if rest else "5m"
        raise CronError(
            f'"@every" is no cron: write the interval as {_shown(f"E={interval}")}', position
        )
    if name.lower() == "@reboot":
        raise CronError('"@reboot" names no time: push a job when your machine starts', position)
    if expanded is None:
        known = ", ".join(_NICKNAMES)
        raise CronError(f"there is no nickname {_shown(name)}: the nicknames are {known}", position)
    if rest:
        raise CronError(f'nothing may follow "{name}": it stands for "{expanded}"', rest[0][1])
    return _rule([(field, position) for field in expanded.split()], name.lower())


def _check_count(words: list[tuple[str, int]]) -> None:
    first = words[0][0]
    count = len(words)
    if re.match(r"(?:CRON_)?TZ=", first, re.IGNORECASE):
        raise CronError(
            f"{_shown(first)} is no field: the time zone is given beside the rule", words[0][1]
        )
    if count in {5, 6}:
        return
    shape = f'write five fields, "{_FORM}", or six with seconds first'
    many = f"{count} field{'' if count == 1 else 's'}"
    if count < 5:
        raise CronError(f"the expression has only {many}: {shape}", words[-1][1])
    if count == 7 and re.match(r"[0-9*?]", words[6][0]):
        shape = "a year cannot be given; leave it out, and give the schedule an end instead"
    raise CronError(f"the expression has {many}: {shape}", words[6][1])


def _rule(words: list[tuple[str, int]], text: str) -> Rule:
    timed = len(words) == 6
    fields = [
        _field(word, position, kind)
        for (word, position), kind in zip(words, _KINDS if timed else _KINDS[1:], strict=True)
    ]
    seconds = fields[0] if timed else Field("", (0,))
    minutes, hours, days, months, weekdays = fields[-5:]
    both = days.starred or weekdays.starred
    when = calendar_of(days, months, weekdays, both)
    if when.empty:
        raise CronError(
            "the expression never fires: no month that it names has such a day",
            words[-3][1],
            _DAY.name,
        )
    return Rule(
        text=text,
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        wildcard=any(field.starred for field in (seconds, minutes, hours)),
        both=both,
        times=Times(hours.values, minutes.values, seconds.values),
        calendar=when,
    )


def _with_order(words: list[tuple[str, int]], error: CronError) -> CronError:
    """The same error, or one that says in which order six fields come, if that is the matter."""
    if len(words) != 6:
        return error
    *five, (last, position) = words
    if re.fullmatch("[0-9]{4}", last):
        return CronError(
            f'"{last}" is no day of the week: a year cannot be given, leave it out',
            position,
            _WEEKDAY.name,
        )
    try:
        _rule([(last, position), *five], "")
    except CronError:
        return error
    proper = " ".join([last, *(word for word, _ in five)])
    return CronError(
        f"{error}; of six fields the seconds come first, as in {_shown(proper)}",
        error.position,
        error.field,
    )


def _field(text: str, position: int, kind: _Kind) -> Field:
    values: set[int] = set()
    special: list[FromEnd | Nearest | Nth] = []
    steps: list[Step] = []
    for item in text.split(","):
        reader = _Item(item, text, position, kind)
        if item == "?" and text == "?" and kind in {_DAY, _WEEKDAY}:
            values.update(range(kind.low, kind.last + 1))
        elif one := reader.special():
            special.append(one)
        else:
            low, high, step = reader.span()
            values.update(range(low, high + 1, step or 1))
            if step is not None:
                steps.append(Step(item, step, low, high))
        position += len(item) + 1
    if kind is _WEEKDAY:
        values = {value % 7 for value in values}
    return Field(text, tuple(sorted(values)), tuple(dict.fromkeys(special)), tuple(steps))


class _Item(Struct, frozen=True):
    """One item of a field's list, with what its error messages need."""

    text: str
    field: str
    position: int
    kind: _Kind

    def special(self) -> FromEnd | Nearest | Nth | None:
        """A day that the month decides, or None for any other item."""
        text = self.text.upper()
        if self.kind is _DAY:
            if text in {"L", "LW"}:
                return FromEnd(0) if text == "L" else Nearest(None)
            if match := re.fullmatch(r"L-([0-9]{1,3})", text):
                if not 1 <= int(match[1]) <= 30:
                    self.refuse("L-1 to L-30 count back from the last day of the month")
                return FromEnd(int(match[1]))
            if match := re.fullmatch(r"([0-9]{1,3})W", text):
                return Nearest(self.value(match[1]))
        elif self.kind is _WEEKDAY:
            if match := re.fullmatch(r"([0-9]{1,3}|[A-Z]{3})L", text):
                return Nth(self.value(match[1]) % 7, None)
            if match := re.fullmatch(r"([0-9]{1,3}|[A-Z]{3})#([0-9]{1,3})", text):
                if not 1 <= int(match[2]) <= 5:
                    self.refuse("after # comes 1 to 5, for the first to fifth such weekday")
                return Nth(self.value(match[1]) % 7, int(match[2]))
        return None

    def span(self) -> tuple[int, int, int | None]:
        """The first and last value and the step, if one is written."""
        base, slash, step_text = self.text.partition("/")
        match = re.fullmatch(r"([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?", base)
        if match is None and base != "*":
            self.refuse(self.reason())
        step = self.step(step_text) if slash else None
        if match is None:
            return self.kind.low, self.kind.last, step
        low = self.value(match[1])
        if match[2] is not None:
            return low, self.end(low, match[2], step), step
        if step is None:
            return low, low, None
        return low % 7 if self.kind is _WEEKDAY else low, self.kind.last, step

    def step(self, text: str) -> int:
        if not re.fullmatch("[0-9]{1,3}", text) or int(text) == 0:
            self.refuse("a step is a number from 1 to 999, as in */5")
        return int(text)

    def end(self, low: int, text: str, step: int | None) -> int:
        """The last value of a range; Sunday by name ends the week that another day began."""
        high = self.value(text)
        if low > high and text.lower() == "sun":
            return 7
        if low > high:
            self.refuse(f"a range runs upwards, write {self.turned(low, high, step)}")
        return high

    def turned(self, low: int, high: int, step: int | None) -> str:
        """What a range that runs over the field's end is meant to say."""
        first, last = self.kind.low, self.kind.last
        if step is not None:
            length = last - first + 1
            values = range(low, high + length + 1, step)
            return ",".join(str(first + (value - first) % length) for value in values)
        if self.kind is _WEEKDAY and high == 0:
            return f"{low}-7" if low < 7 else "0"
        if self.kind is _WEEKDAY and low == 7:
            return f"0-{high}"
        tail = f"{low}-{last}" if low < last else f"{last}"
        return f"{tail},{first}-{high}" if first < high else f"{tail},{first}"

    def value(self, text: str) -> int:
        """A number or name as a value of the field."""
        name = text.lower()
        if name in self.kind.names:
            return self.kind.names.index(name) + self.kind.low
        if name[:3] in self.kind.names:
            self.refuse(f"names have three letters, write {name[:3]}")
        if not re.fullmatch("[0-9]+", text):
            self.refuse(self.reason())
        if len(text) > 3 or not self.kind.low <= int(text) <= self.kind.high:
            midnight = "; midnight is 0" if self.kind is _HOUR and text == "24" else ""
            self.refuse(f"{text[:40]} is out of range, it takes {self.kind.accepts}{midnight}")
        return int(text)

    def reason(self) -> str:
        """Why this can be no item of the field, and what can."""
        text, kind = self.text.upper(), self.kind
        if not text:
            return "a list has a value on both sides of each comma, as in 1,15"
        if re.fullmatch(r"[HR](\(.*)?(/.*)?", text):
            return f"lq picks no value by hash or chance, choose from {kind.accepts}"
        if "?" in text:
            return "? stands alone and in a day field only, write *"
        if re.search("[L#W]", text) and kind in {_DAY, _WEEKDAY}:
            return _MISPLACED[kind.name]
        if re.fullmatch("L.*|.*[LW]|.*#.*", text):
            return f"L, W and # are for the day fields, this one takes {kind.accepts}"
        if text.lower()[:3] in {*_MONTHS, *_WEEKDAYS} and not kind.names:
            return f"names are for the month and the day of the week, this one takes {kind.accepts}"
        if "*" in text:
            return "* stands alone or before a step, as in */5"
        if re.fullmatch("[0-9A-Z]*-[0-9A-Z]*", text):
            return "a range has a value at both ends, as in 1-5"
        return f"it takes {kind.accepts}, ranges a-b, steps */n and lists a,b"

    def refuse(self, reason: str) -> NoReturn:
        raise CronError(
            f"{_shown(self.text)} in the {self.kind.name} field: {reason}",
            self.position,
            self.kind.name,
        )


def _shown(text: str) -> str:
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'
