"""Numbers and foreign text as a reader should see them: nothing missing becomes 0, nothing stays hidden."""

from __future__ import annotations

import math
import re

# C0 and C1 controls (but tab and line feed), line and paragraph separators, direction overrides that could
# make a page read otherwise than it is written, the byte-order mark, lone surrogates and noncharacters.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOT_MEASURED = "not measured"


def clean(text: str) -> str:
    r"""The text with every character shown that a page or a terminal would hide or obey.

    >>> clean("a\x00b\u2028c")
    'a␀b⟨U+2028⟩c'
    """
    return _HIDDEN.sub(_visible, text.replace("\r\n", "\n"))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def shorten(text: str, limit: int) -> str:
    """The text itself, or its first ``limit`` characters and how many there were.

    >>> shorten("abcdef", 3)
    'abc… (6 characters)'
    """
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def brief(text: str, limit: int) -> str:
    r"""At most ``limit`` characters, counted after hidden ones were made visible: for labels of bounded size.

    >>> brief("ab\x00cdef", 4)
    'ab␀…'
    """
    visible = clean(text)
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"


def finite(value: object) -> float | None:
    """The value as a number, or None for what is none: null, NaN, infinity, text.

    >>> finite(float("nan")) is None
    True
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def number(value: object, *, signed: bool = False) -> str:
    """Four significant digits, at most four decimals; powers of ten outside 0.0005 … 10⁷; words for None.

    >>> number(0.00712), number(-103.94), number(12345.6), number(3.2e-5), number(None)
    ('0.0071', '-103.9', '12,346', '3.2×10⁻⁵', 'not measured')
    >>> number(0.5, signed=True)
    '+0.5000'
    """
    real = finite(value)
    if real is None:
        return NOT_MEASURED
    size = abs(real)
    if size == 0:
        return "0"
    if not 5e-4 <= size < 1e7:
        mantissa, exponent = f"{size:.1e}".split("e")
        text = f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    else:
        before_point = len(str(int(size))) if size >= 1 else 0
        text = f"{size:,.{max(0, min(4, 4 - before_point))}f}"
    sign = "-" if real < 0 else "+" if signed and real > 0 else ""
    return sign + text


def count(value: object) -> str:
    """A count with thousands separated; a share of one (a part of a batch) keeps one decimal.

    >>> count(12000), count(480.5), count(None)
    ('12,000', '480.5', 'not measured')
    """
    real = finite(value)
    if real is None:
        return NOT_MEASURED
    return f"{real:,.0f}" if real == int(real) else f"{real:,.1f}"


def counted(value: int, noun: str) -> str:
    """A count and its noun, in the plural where that is right.

    >>> counted(1, "seed"), counted(20, "cluster")
    ('1 seed', '20 clusters')
    """
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def duration(value: object) -> str:
    """Seconds in the units a person would say.

    >>> duration(3.21), duration(192), duration(7320)
    ('3.2 s', '3 min 12 s', '2 h 2 min')
    """
    seconds = finite(value)
    if seconds is None:
        return NOT_MEASURED
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def listed(parts: list[str]) -> str:
    """Parts as a sentence lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
