from didact.naming import nearest, nearest_or_all

METHODS = ["uniform", "cures", "DAPO"]


def test_the_nearest_is_named_as_it_is_written() -> None:
    assert nearest("curse", METHODS) == "; did you mean 'cures'?"
    assert nearest("dapo", METHODS) == nearest("DAPPO", METHODS) == "; did you mean 'DAPO'?"


def test_where_none_is_near_nothing_is_said_or_all_are_named() -> None:
    assert nearest("zzz", METHODS) == nearest("", METHODS) == nearest("cures", []) == ""
    assert nearest(3, METHODS) == ""
    assert nearest_or_all("zzz", METHODS) == "; choose from DAPO, cures, uniform"
    assert nearest_or_all("curse", METHODS) == "; did you mean 'cures'?"
