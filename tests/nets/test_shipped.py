"""The networks that come with the package do what their cards say."""

import os
from pathlib import Path

import numpy as np
import pytest

import nets
import vj
from nets.cards import card_of
from nets.detectors.facenet import read_net
from nets.detectors.training.card import LEAST
from nets.detectors.training.data import read_pictures
from nets.detectors.training.judge import judge
from nets.detectors.training.recipe import RECIPES
from nets.detectors.training.store import Store

DATA = Path(os.environ.get("VJ_DATA", Path(__file__).parents[3] / "shared" / "data"))
SHIPPED = [card for card in nets.list_models().values() if card.path]


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.name)
class TestShipped:
    def test_is_small_and_has_the_shape_of_its_recipe(self, card):
        assert card.path.stat().st_size <= 1.5e6
        net, recipe = read_net(card.path), RECIPES[card.name]
        assert net.n_parameters == card.details["architecture"]["parameters"]
        assert card.details["recipe"]["net"] == recipe.net
        assert card.details["recipe"]["epochs"] == recipe.epochs
        assert card_of(card.path) == card

    def test_finds_the_astronaut_and_nobody_in_the_bricks(self, card):
        found = vj.detect(vj.sample("astronaut"), card.name)
        assert len(found) == 1
        box, eyes = found.xyxy[0], found.landmarks[0, :2]
        assert np.abs(box - [180, 60, 265, 190]).max() < 40
        assert (eyes > box[:2]).all()
        assert (eyes < box[2:]).all()
        assert found.confidence[0] > 0.9
        assert not len(vj.detect(vj.sample("brick"), card.name))

    @pytest.mark.skipif(not (DATA / "boxes_dev").is_dir(), reason="VJ_DATA has no boxes_dev")
    def test_scores_what_its_card_says(self, card):
        judged = judge(
            nets.load(card.name, score_threshold=LEAST), read_pictures(DATA / "boxes_dev"), Store()
        )
        assert judged.ap == pytest.approx(card.scores["AP"], abs=0.003)
