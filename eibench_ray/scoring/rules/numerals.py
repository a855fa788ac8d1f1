"""Numbers in texts, as people and models write them: "65,960", "$1,000.50", "-3", "1/2", "5%", "3 x 10^8"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, localcontext
from unicodedata import normalize

# Digits that a quotient keeps: 1/3 equals 2/6, and 0.333 equals neither.
_PRECISION = 60
_MINUS = "-\N{MINUS SIGN}\N{EN DASH}"
_VULGAR = re.compile("[\N{VULGAR FRACTION ONE QUARTER}-\N{VULGAR FRACTION THREE QUARTERS}\u2150-\u215e]")
_LATEX_GAP = re.compile(r"\{,\}|\\[,!;](?=\d)")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}")
# A sign counts where nothing stands before it that it could be subtracted from.
_NUMBER = re.compile(
    rf"""
    (?:(?<![^\W_)\]}}])(?P<sign>[{_MINUS}]))?
    (?<![^\W_])(?P<slash>(?<=/))?
    (?:\\?[$€£¥₹]\s?(?P<late_sign>[{_MINUS}])?)?
    (?P<whole>\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+|(?=\.\d))
    (?:
        (?(slash)(?!))(?:[ ](?P<part>\d+))?\s?[/\N{{FRACTION SLASH}}]\s?(?P<divisor>\d+)(?![\d/])
      | (?P<decimals>\.\d+)?
        (?:[eE](?P<exponent>[-+]?\d{{1,3}})(?!\d)
          |\s?(?:[x\N{{MULTIPLICATION SIGN}}*]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)
           \s?\{{?(?P<power>[-\N{{MINUS SIGN}}]?\d{{1,3}})(?!\d)\}}?)?
    )
    (?P<percent>\s?\\?%|\s?percent\b)?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number as a text has it."""

    text: str  # the characters that were read
    value: Decimal  # without its percent sign: 5 for "5%"
    is_percent: bool = False  # whether a percent sign, or the word, stands behind it

    def is_close(self, other: Numeral, tolerance: float = 0.0) -> bool:
        """Whether both say the same; where only one is a percentage, 5% is 0.05 and, as it is often left out, 5.

        Args:
            other: what it is compared with.
            tolerance: largest difference that counts as equal, as a share of `other`.
        """
        with localcontext() as context:
            context.prec = _PRECISION
            pairs = [(self.value, other.value)]
            if self.is_percent and not other.is_percent:
                pairs.append((self.value / 100, other.value))
            elif other.is_percent and not self.is_percent:
                pairs.append((self.value, other.value / 100))
            return any(mine == its or abs(mine - its) <= Decimal(tolerance) * abs(its) for mine, its in pairs)


def find_numerals(text: str, *, decimal_comma: bool = False) -> list[Numeral]:
    """The numbers of a text in their order; digits that are part of a word, as in "CO2", are none.

    Args:
        text: any text.
        decimal_comma: whether "1.000,5" is a thousand and a half.
    """
    if decimal_comma:
        text = text.translate(str.maketrans(",.", ".,"))
    text = _VULGAR.sub(lambda found: f" {normalize('NFKC', found[0])}", _LATEX_GAP.sub("", text))
    text = _LATEX_FRACTION.sub(_write_fraction, text)
    return [numeral for found in _NUMBER.finditer(text) if (numeral := _read(found)) is not None]


def _write_fraction(found: re.Match[str]) -> str:
    gap = " " if found.string[: found.start()][-1:].isdigit() else ""
    return f"{gap}{found[1]}/{found[2]}"


def _read(found: re.Match[str]) -> Numeral | None:
    """The number of a match; None for a fraction of nothing."""
    whole = Decimal(found["whole"].replace(",", "") or 0)
    with localcontext() as context:
        context.prec = _PRECISION
        if found["divisor"] is None:
            value = Decimal((found["whole"].replace(",", "") or "0") + (found["decimals"] or ""))
            exponent = found["exponent"] or (found["power"] or "0").replace("\N{MINUS SIGN}", "-")
            if int(exponent):
                value *= Decimal(10) ** int(exponent)
        elif not (divisor := Decimal(found["divisor"])):
            return None
        else:
            part = found["part"]
            value = whole / divisor if part is None else whole + Decimal(part) / divisor
        if found["sign"] or found["late_sign"]:
            value = value.copy_negate()
    return Numeral(found[0].strip(), value, found["percent"] is not None)
