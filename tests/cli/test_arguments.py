"""Arguments in groups: options of their own on the command line, and one value for the command's function."""

import pytest

from styleplugin.cli.arguments import MaskChoice, ModelChoice, StyleChoice
from styleplugin.cli.look import look_export
from styleplugin.cli.parser import arguments_of, parsed
from styleplugin.errors import UsageError
from styleplugin.options import StyleWeight


def test_the_fields_of_a_group_stand_where_the_group_stands():
    names = list(arguments_of(look_export))
    place = names.index("method")
    assert names[place : place + 6] == ["method", "model", "allow_unknown_model", "mask", "mask_label", "picture"]


def test_a_function_gets_its_groups():
    got = []

    def command(*, model: ModelChoice, size: int = 3, mask: MaskChoice) -> None:
        got.append((model, size, mask))

    parsed(command)(model="cd-wct.x16", mask_label=2)()
    assert got == [(ModelChoice(model="cd-wct.x16"), 3, MaskChoice(mask_label=2))]


def test_styles_get_their_regions_and_masks_in_order():
    styles = StyleChoice(style=("b.png:0.5",), region=("-", "r.png"), style_mask=("m.png",)).weighted("a.png")
    assert styles == [
        StyleWeight(style="a.png", mask="m.png"),
        StyleWeight(style="b.png", weight=0.5, region="r.png"),
    ]


@pytest.mark.parametrize(
    ("choice", "code", "says"),
    [
        (StyleChoice(), "SP109", "No style was given"),
        (
            StyleChoice(style=("a.png",), region=("-", "-")),
            "SP129",
            "2 regions were given for 1 styles. Give one --reg",
        ),
        (StyleChoice(style=("a.png",), style_mask=("-", "-")), "SP129", "2 style masks.* Give one --style-mask for"),
        (StyleChoice(style=("a.png:x",)), "SP104", "a weight is a number"),
    ],
)
def test_styles_that_do_not_fit_are_refused(choice, code, says):
    with pytest.raises(UsageError, match=says) as caught:
        choice.weighted(None)
    assert caught.value.code == code
