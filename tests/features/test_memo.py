"""Tests of app/features/memo.py."""

from __future__ import annotations

from app.features.memo import LONGEST_REMEMBERED, MOST_REMEMBERED, Memo, remembered

LONG = "x" * (LONGEST_REMEMBERED + 1)


def test_texts_without_end_are_not_remembered_without_end() -> None:
    """The memory of a column is bounded, its answers are not."""
    memo = Memo(len)
    assert [memo["x" * n] for n in (1, 2, 2)] == [1, 2, 2]
    memo.update((str(i), 0) for i in range(MOST_REMEMBERED))
    assert memo["never"] == 5
    assert "never" not in memo


def test_a_long_text_is_answered_and_not_remembered() -> None:
    """Else a few thousand of them would fill the memory that bounds on their number are to keep."""
    memo = Memo(len)
    assert memo[LONG] == len(LONG)
    assert memo[LONG[1:]] == LONGEST_REMEMBERED
    assert list(memo) == [LONG[1:]]


def test_a_function_remembers_its_last_answers() -> None:
    """One a text, of the last two; of a long one none."""
    asked: list[str] = []

    @remembered(2)
    def upper(text: str) -> str:
        asked.append(text)
        return text.upper()

    assert [upper(text) for text in ("a", "b", "a", "c", "b")] == ["A", "B", "A", "C", "B"]
    assert asked == ["a", "b", "c", "b"]
    assert upper(LONG) == upper(LONG) == LONG.upper()
    assert asked[4:] == [LONG, LONG]
