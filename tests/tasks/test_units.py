import pytest

from didact.tasks.units import unit_behind


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("12\\text{ cm}", "12", "cm"),
        ("12 \\text{ square feet}", "12", "ft^2"),
        ("12\\text{ ft}^2", "12", "ft^2"),
        ("12\\text{ m/s^2}", "12", "m/s^2"),
        ("60 \\text{ miles per hour}", "60", "mi/h"),
        ("60 mph", "60", "mi/h"),
        ("45^{\\circ}", "45", "deg"),
        ("45 degrees", "45", "deg"),
        ("20%", "20", "%"),
        ("12 apples", "12", ""),
        ("9.8 \\frac{m}{s^2}", "9.8", ""),
    ],
)
def test_a_unit_is_told_from_its_number(text: str, number: str, unit: str) -> None:
    assert unit_behind(text) == (number, unit)


@pytest.mark.parametrize(
    "text", ["2x", "12m", "2 \\cdot x", "1/n", "5 \\text{ or more}", "5 \\text{ million}", "12 minus five"]
)
def test_variables_and_hedges_are_no_units(text: str) -> None:
    assert unit_behind(text) == (text, "")
