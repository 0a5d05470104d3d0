import torch
from torch import nn

from styleplugin.train.loop.average import Average


def module(value: float) -> nn.Linear:
    line = nn.Linear(2, 1, dtype=torch.float32, device="cpu")
    nn.init.constant_(line.weight, value)
    nn.init.constant_(line.bias, value)
    return line


def follow(values: list[float], share: float) -> Average:
    line = module(values[0])
    average = Average(line, share)
    for step, value in enumerate(values, 1):
        nn.init.constant_(line.weight, value)
        average.follow(step)
    return average


def test_the_first_steps_are_not_remembered():
    assert follow([5.0, 7.0], 0.5).values["weight"].tolist() == [[7.0, 7.0]]


def test_the_average_looks_back_on_its_share_of_the_steps():
    """A jump a fifth of the steps ago has faded in by 1 - 0.8^(1 / 0.2)."""
    value = float(follow([0.0] * 800 + [1.0] * 200, 0.2).values["weight"][0, 0])
    assert abs(value - (1 - 0.8**5)) < 0.01


def test_weights_come_back_behind_a_look_at_the_average():
    average = follow([0.0] * 50 + [1.0] * 50, 0.5)

    def weight() -> float:
        return float(average.module.get_parameter("weight").detach()[0, 0])

    with average.in_place():
        assert 0 < weight() < 1
    assert weight() == 1
    average.replace()
    assert 0 < weight() < 1
