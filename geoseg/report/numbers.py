"""Numbers as people read them: as many digits as they are worth, and never a 0 for what is there."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["Digits", "count", "percent", "signed"]

_MINUS = "\N{MINUS SIGN}"
_NONE = "–"


class Digits:
    """One number of decimals for a column, so that its numbers can be compared: four digits of the largest.

    Parameters
    ----------
    values
        The numbers of the column; those that are not finite are passed over.

    Examples
    --------
    >>> show = Digits([21158.3, 3.2, 0.02])
    >>> show(21158.3), show(3.2), show(0.02), show(0.0), show(float("nan"))
    ('21,158', '3', '< 1', '0', '–')
    >>> Digits([0.0123])(0.0123)
    '0.01230'
    """

    def __init__(self, values: Iterable[float]) -> None:
        largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
        self.decimals = 0 if largest == 0 else min(max(3 - math.floor(math.log10(largest)), 0), 6)

    def __call__(self, value: float) -> str:
        if not math.isfinite(value):
            return _NONE
        if value == 0:
            return "0"
        text = f"{abs(value):,.{self.decimals}f}"
        if not float(text.replace(",", "")):
            least = f"{10.0**-self.decimals:.{self.decimals}f}"
            return f"> {_MINUS}{least}" if value < 0 else f"< {least}"
        return (_MINUS if value < 0 else "") + text

    def signed(self, value: float) -> str:
        """The same with a plus, for differences.

        >>> Digits([12.5]).signed(3)
        '+3.00'
        """
        text = self(value)
        return f"+{text}" if value > 0 and text[0].isdigit() else text


def count(number: float) -> str:
    """A count.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{int(number):,}" if math.isfinite(number) else _NONE


def percent(share: float, decimals: int = 1) -> str:
    """A share of 0..1 as per cent.

    >>> percent(0.1234), percent(0.00001), percent(0.99999), percent(0.0), percent(float("nan"))
    ('12.3 %', '< 0.1 %', '> 99.9 %', '0 %', '–')
    """
    if not math.isfinite(share):
        return _NONE
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    least = 10.0**-decimals
    if 0 < 100 * share < least:
        return f"< {least:g} %"
    if 0 < 100 * (1 - share) < least:
        return f"> {100 - least:.{decimals}f} %"
    return f"{100 * share:.{decimals}f} %".replace("-", _MINUS)


def signed(share: float, decimals: int = 2) -> str:
    """A relative change as per cent, with its sign.

    >>> signed(-0.0123), signed(0.5), signed(-0.0000001)
    ('−1.23 %', '+50.00 %', '0.00 %')
    """
    if not math.isfinite(share):
        return _NONE
    text = f"{100 * share:+.{decimals}f}"
    return f"{text if float(text) else text[1:]} %".replace("-", _MINUS)
