"""Work on other threads: in order, bounded, and what goes wrong is told."""

import threading

import pytest

from sas_jax.lifting.background import OneBehind, ahead


@pytest.mark.parametrize("most", [1, 3, 10])
def test_items_come_in_order_and_no_more_are_made_than_said(most):
    made, makers = [], set()

    def items():
        for i in range(7):
            made.append(i)
            makers.add(threading.get_ident())
            yield i

    seen = []
    for item in ahead(items(), most):
        seen.append(item)
        assert len(made) <= len(seen) + most
    assert seen == list(range(7))
    assert len(makers) == 1 and threading.get_ident() not in makers


def test_items_are_made_before_they_are_wanted():
    second = threading.Event()

    def items():
        yield 1
        second.set()
        yield 2

    found = ahead(items(), 1)
    assert next(found) == 1 and second.wait(60)
    assert list(found) == [2]


def test_what_an_item_raises_is_raised_where_it_was_wanted():
    def items():
        yield 1
        raise KeyError("broken")

    found = ahead(items(), 4)
    assert next(found) == 1
    with pytest.raises(KeyError, match="broken"):
        next(found)


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    found = ahead(iter(range(100)), 2)
    next(found)
    found.close()
    assert threading.active_count() == before


def test_calls_run_in_order_and_at_most_one_is_open():
    done, gate, opened = [], threading.Event(), []

    def first():
        assert gate.wait(60)
        done.append("first")

    with OneBehind() as behind:
        behind(first)
        opened.append(not done)
        gate.set()
        behind(lambda: done.append("second"))
        opened.append(done[0] == "first")  # the one before has ended
    assert opened == [True, True] and done == ["first", "second"]


def test_what_a_call_raises_is_raised_by_the_next_or_at_the_end():
    def fail():
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"), OneBehind() as behind:
        behind(fail)
        behind(lambda: None)
    with pytest.raises(KeyError, match="broken"), OneBehind() as behind:
        behind(fail)
