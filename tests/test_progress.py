"""What a person is told while a run goes on."""

from __future__ import annotations

import numba

from geoseg.progress import make_progress


def test_compilation_is_announced_once(capsys):
    with make_progress():
        for _ in range(2):
            assert numba.njit(lambda x: x + 1)(1) == 2
    assert capsys.readouterr().err.count("The vectoriser is compiled for this machine") == 1


def test_quiet_says_nothing_of_it(capsys):
    with make_progress(quiet=True):
        assert numba.njit(lambda x: x + 2)(1) == 3
    assert capsys.readouterr().err == ""
