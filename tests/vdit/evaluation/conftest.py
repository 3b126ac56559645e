"""Miniature data sets that several tests read."""

import pytest

from tests.vdit.evaluation.prediction_trees import render_tree


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """Function of the name of a data set: its root, rendered once."""
    roots = {}

    def root_of(dataset):
        if dataset not in roots:
            roots[dataset] = tmp_path_factory.mktemp(dataset)
            render_tree(dataset, roots[dataset])
        return roots[dataset]

    return root_of
