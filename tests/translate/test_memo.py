"""What is remembered is used while its inputs are the same, and not a moment longer."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from meshlite.translate.memo import Looked, Memo


def _double(numbers: list[int]) -> list[int]:
    return [number * 2 for number in numbers]


def _priced(memo: Memo, names: tuple[str, ...], prices: dict[str, list[int]]) -> tuple[list[int], ...]:
    return tuple(memo.of(name, _double, prices[name]) for name in names)


def _answer(question: str, answers: Mapping[str, list[int]]) -> tuple[bool, list[int]]:
    return "never" in answers, list(answers.get(question, []))


def _all(answers: Mapping[str, list[int]]) -> list[str]:
    return list(answers)


def test_equal_inputs_give_the_very_same_value() -> None:
    first = Memo()
    made = first.of("a", _double, [1, 2])
    assert Memo(first.now).of("a", _double, [1, 2]) is made


def test_another_input_another_function_and_another_type_are_not_the_same() -> None:
    first = Memo()
    first.of("a", _double, [1])
    assert Memo(first.now).of("a", _double, [2]) == [4]
    assert Memo(first.now).of("a", len, [1]) == 1
    number = Memo()
    number.of("b", str, 1)
    assert Memo(number.now).of("b", str, True) == "True"


def test_a_value_that_comes_out_equal_is_the_last_one() -> None:
    first = Memo()
    made = first.of("a", sorted, [2, 1])
    second = Memo(first.now)
    assert second.of("a", sorted, [1, 2]) is made
    assert second.same("b", made) is Memo(second.now).same("b", [1, 2])


def test_what_is_not_used_in_a_run_is_forgotten() -> None:
    first = Memo()
    made = first.of("a", _double, [1])
    second = Memo(first.now)
    second.of("b", _double, [1])
    assert Memo(second.now).of("a", _double, [1]) is not made


def test_an_inner_memory_outlives_runs_that_do_not_need_it() -> None:
    memo = Memo()
    prices = {"x": [1], "y": [2]}
    made = memo.within("stage", _priced, ("x", "y"), prices)
    for _ in range(2):
        memo = Memo(memo.now)
        assert memo.within("stage", _priced, ("x", "y"), prices) is made
    memo = Memo(memo.now)
    changed = memo.within("stage", _priced, ("x", "y"), prices | {"y": [3]})
    assert changed == ([2], [6])
    assert changed[0] is made[0]


@pytest.mark.parametrize(
    ("after", "same"),
    [
        ({"x": [1], "z": [7]}, True),
        ({"x": [2], "y": [5]}, False),
        ({"y": [5]}, False),
        ({"x": [1], "never": [0]}, False),
    ],
    ids=["not asked for", "asked for", "gone", "asked for and not there"],
)
def test_of_a_looked_mapping_only_what_is_asked_counts(after: dict[str, list[int]], same: bool) -> None:
    memo = Memo()
    made = memo.of("a", _answer, "x", Looked({"x": [1], "y": [5]}))
    for _ in range(2):
        memo = Memo(memo.now)
        again = memo.of("a", _answer, "x", Looked(after))
        assert again == _answer("x", after)
        assert (again is made) == same


def test_who_goes_through_a_looked_mapping_asks_for_all_of_it() -> None:
    first = Memo()
    first.of("a", _all, Looked({"x": [1]}))
    assert Memo(first.now).of("a", _all, Looked({"x": [1], "y": [2]})) == ["x", "y"]


def _priced_each(name: str, rate: int, prices: Mapping[str, list[int]]) -> list[int]:
    return [price * rate for price in prices.get(name, [])]


def _counted(memo: Memo, names: tuple[str, ...]) -> tuple[list[int], ...]:
    return tuple(memo.of(name, _double, [len(name)]) for name in names)


def test_of_many_items_only_those_that_change_are_made_again() -> None:
    first = Memo()
    made = first.each("a", _double, {"x": [1], "y": [2]})
    second = Memo(first.now)
    again = second.each("a", _double, {"x": [1], "y": [3]})
    assert again == {"x": [2], "y": [6]}
    assert again["x"] is made["x"]
    assert Memo(second.now).each("a", _double, {"x": [1], "y": [3]}) is again


@pytest.mark.parametrize("items", [{"y": [2], "x": [1]}, {"y": [2]}, {"z": [4], "x": [1], "y": [2]}])
def test_many_items_keep_their_own_order(items: dict[str, list[int]]) -> None:
    first = Memo()
    made = first.each("a", _double, {"x": [1], "y": [2]})
    again = Memo(first.now).each("a", _double, items)
    assert list(again.items()) == [(name, _double(numbers)) for name, numbers in items.items()]
    assert again["y"] is made["y"]


def test_what_all_items_share_concerns_each_of_them() -> None:
    first = Memo()
    prices = {"x": [1], "y": [2]}
    first.each("a", _priced_each, {"x": "x", "y": "y"}, 1, prices)
    assert Memo(first.now).each("a", _priced_each, {"x": "x", "y": "y"}, 2, prices) == {"x": [2], "y": [4]}


def test_of_a_looked_mapping_each_item_counts_what_it_asked_itself() -> None:
    memo, items = Memo(), {"x": "x", "y": "y", "z": "z"}
    made = memo.each("a", _priced_each, items, 1, Looked({"x": [1], "y": [2]}))
    for prices in ({"x": [1], "y": [3]}, {"x": [1], "y": [3], "z": [4]}, {"x": [1], "z": [4], "other": [5]}):
        memo = Memo(memo.now)
        again = memo.each("a", _priced_each, items, 1, Looked(prices))
        assert again == {name: prices.get(name, []) for name in items}
        assert again["x"] is made["x"]


def test_an_item_that_goes_through_all_of_a_looked_mapping_is_made_again_with_it() -> None:
    first = Memo()
    items = {"x": "x"}
    first.each("a", _listed, items, Looked({"x": [1]}))
    assert Memo(first.now).each("a", _listed, items, Looked({"x": [1], "y": [2]})) == {"x": ["x", "y"]}


def _listed(name: str, answers: Mapping[str, list[int]]) -> list[str]:
    return [name, *(other for other in answers if other != name)]


def test_each_item_may_remember_in_turn() -> None:
    memo = Memo()
    made = memo.each_within("a", _counted, {"x": ("one", "three"), "y": ("two",)})
    for _ in range(2):
        memo = Memo(memo.now)
        again = memo.each_within("a", _counted, {"x": ("one", "three"), "y": ("two",)})
        assert again is made
    memo = Memo(memo.now)
    changed = memo.each_within("a", _counted, {"x": ("one", "sixteen"), "y": ("two",)})
    assert changed == {"x": ([6], [14]), "y": ([6],)}
    assert changed["x"][0] is made["x"][0]
