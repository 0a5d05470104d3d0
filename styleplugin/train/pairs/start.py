"""What each phase starts from: weights of an earlier run, filters of the teacher, or random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from styleplugin.errors import UsageError
from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.model import load_tensors
from styleplugin.networks.vgg import CONVS, TEACHER_WIDTHS, Decoder, Encoder, VGGSpec, convs_of_level
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.networks.teachers import LossNetwork, teacher_encoder
from styleplugin.train.pairs.parts import Part, check_spec, load_part
from styleplugin.train.pairs.recipe import RECONSTRUCTION, Recipe
from styleplugin.train.pruning.filters import (
    Keeps,
    draw_decoder,
    fit_embedding,
    prune_decoder,
    prune_encoder,
    selection_embedding,
)
from styleplugin.train.pruning.pruned import PrunedAutoencoder
from styleplugin.train.pruning.reconstruct import reconstruct_decoder, reconstruct_encoder
from styleplugin.train.recipe.options import RunRecipe
from styleplugin.transforms.adain import adain

STARTING = 16
"""Pictures that statistics and embeddings are measured on."""
_AT_ONCE = 8

Network = TypeVar("Network", bound=nn.Module)


def teacher_decoder_spec(recipe: Recipe, loss_network: LossNetwork) -> VGGSpec:
    """Return the mirrored teacher, or the recipe's narrower one with the loss network's features at its entrance."""
    known = {
        conv: len(loss_network.layers[f"conv{conv}.bias"])
        for conv in CONVS
        if f"conv{conv}.bias" in loss_network.layers
    }
    convs = convs_of_level(recipe.level)
    widths = recipe.teacher_widths or [known.get(conv, TEACHER_WIDTHS[CONVS.index(conv)]) for conv in convs]
    return VGGSpec(
        level=recipe.level,
        widths=(*widths[: len(convs) - 1], loss_network.widths[-1]),
        final_relu=recipe.method == "wct",
    )


@torch.no_grad()
def start_teacher_decoder(recipe: Recipe, loss_network: LossNetwork, images: Tensor) -> Decoder:
    """Draw a full-width decoder, or go on with that of an earlier run.

    Args:
        recipe: The run.
        loss_network: On the device of the images.
        images: (N, 3, H, W) in [0, 1]; statistics are measured on them, here and below.
    """
    spec = teacher_decoder_spec(recipe, loss_network)
    decoder = draw_decoder(
        spec, loss_network(images[:STARTING]), step_generator(recipe.seed, "start teacher_decoder", 0)
    )
    return _grown(decoder, _earlier(recipe, "teacher_decoder", spec))


def start_pruning(recipe: Recipe, loss_network: LossNetwork, teacher_decoder: Decoder) -> PrunedAutoencoder:
    """Put the teacher's encoder and its decoder under the rule of the recipe.

    Raises:
        WeightsError: SP331, the teacher's layers end before the level.
        UsageError: SP121, the student is wider than the teacher.
    """
    encoder = teacher_encoder(loss_network.layers, recipe.level)
    _check_widths(recipe.student, encoder.spec)
    return PrunedAutoencoder(recipe.importance, encoder, teacher_decoder, recipe.student.widths, seed=recipe.seed)


@torch.no_grad()
def start_student_encoder(
    recipe: RunRecipe,
    spec: VGGSpec,
    importance: str,
    loss_network: LossNetwork,
    images: Tensor,
    styles: Tensor | None = None,
    pruned: Encoder | None = None,
) -> tuple[EmbeddedEncoder, Keeps]:
    """Prune or reconstruct the teacher, and go on with the encoder of an earlier run as deep as it goes.

    The embeddings follow from the keep lists of a pruned encoder; others are fitted.

    Args:
        recipe: The run.
        spec: Of the encoder.
        importance: See `Recipe.importance`.
        loss_network: On the device of the images.
        images: As above; the more, the better the reconstruction.
        styles: (N, 3, H, W) in [0, 1], where the run has styles.
        pruned: The encoder that the phase "pruning" has left.

    Returns:
        The encoder, and the keep lists of the layers that come from the teacher in one step.
    """
    earlier = _earlier(recipe, "student_encoder", spec)
    keeps: Keeps = {}
    if pruned:
        encoder = pruned.to(images.device)
    elif _is_whole(earlier, spec):
        encoder = Encoder(spec).to(images.device)
    else:
        encoder, keeps = _chosen_encoder(recipe.seed, spec, importance, loss_network, images, styles)
    if earlier is not None:
        encoder = _grown(encoder, earlier.encoder if isinstance(earlier, EmbeddedEncoder) else earlier)
        keeps = {}
    images = images[:STARTING]
    features = zip(encoder.features(images), loss_network.features(images), strict=True)
    selected = {} if importance == RECONSTRUCTION else keeps
    embeddings = [
        selection_embedding(selected[conv], teacher.shape[1]) if conv in selected else fit_embedding(student, teacher)
        for conv, (student, teacher) in zip((f"{k}_1" for k in range(1, 6)), features, strict=False)
    ]
    embedded = EmbeddedEncoder(encoder, embeddings)
    return (_grown(embedded, earlier) if isinstance(earlier, EmbeddedEncoder) else embedded), keeps


def _chosen_encoder(
    seed: int,
    spec: VGGSpec,
    importance: str,
    loss_network: LossNetwork,
    images: Tensor,
    styles: Tensor | None,
) -> tuple[Encoder, Keeps]:
    generator = step_generator(seed, "start student_encoder", 0)
    if importance == RECONSTRUCTION:
        images = images if styles is None else torch.cat([images, styles])[::2]
        teacher = teacher_encoder(loss_network.layers, spec.level).to(images.device)
        _check_widths(spec, teacher.spec)
        return reconstruct_encoder(teacher, spec, images, generator)
    layers = {} if importance == "random" else loss_network.layers
    return prune_encoder(layers, spec, importance, images[:STARTING], generator)


@torch.no_grad()
def start_student_decoder(
    recipe: Recipe,
    encoder: EmbeddedEncoder,
    loss_network: LossNetwork,
    teacher_decoder: Callable[[], Decoder],
    images: Tensor,
    styles: Tensor | None = None,
    pruned: Decoder | None = None,
) -> Decoder:
    """Prune the full-width decoder behind the encoder's embedding, or reconstruct it, and go on with the decoder of
    an earlier run.

    Args:
        recipe: The run.
        encoder: The student's, as trained.
        loss_network: On the device of the images.
        teacher_decoder: Reads the full-width decoder.
        images: As above.
        styles: As above.
        pruned: The decoder that the phase "pruning" has left.
    """
    spec = recipe.student
    encoder.to(images.device)
    earlier = _earlier(recipe, "student_decoder", spec)
    if pruned:
        decoder = pruned.to(images.device)
    elif _is_whole(earlier, spec):
        decoder = Decoder(spec).to(images.device)
    else:
        decoder = _chosen_decoder(recipe, encoder, loss_network, teacher_decoder, images, styles)
    return _grown(decoder, earlier)


def _chosen_decoder(
    recipe: Recipe,
    encoder: EmbeddedEncoder,
    loss_network: LossNetwork,
    teacher_decoder: Callable[[], Decoder],
    images: Tensor,
    styles: Tensor | None,
) -> Decoder:
    spec, generator = recipe.student, step_generator(recipe.seed, "start student_decoder", 0)
    if recipe.importance == "random" or (recipe.importance == RECONSTRUCTION and not recipe.has_teacher_decoder):
        return draw_decoder(spec, encoder.encoder(images[:STARTING]), generator)
    teacher = teacher_decoder().to(images.device)
    if recipe.importance == RECONSTRUCTION:
        _check_widths(spec, teacher.spec)
        features, wide = (_to_decode(network, images, styles) for network in (encoder.encoder, loss_network))
        return reconstruct_decoder(teacher, spec, features, wide, generator)
    embedding = encoder.embeddings[-1]
    assert isinstance(embedding, nn.Conv2d)
    return prune_decoder(teacher, embedding, spec, recipe.importance, encoder.encoder(images[:STARTING]))


def _check_widths(student: VGGSpec, teacher: VGGSpec) -> None:
    if any(narrow > full for full, narrow in zip(teacher.widths, student.widths, strict=True)):
        raise UsageError(
            "SP121", f"The student has the widths {list(student.widths)}, the teacher {list(teacher.widths)}; not more."
        )


def _to_decode(encoder: Encoder | LossNetwork, images: Tensor, styles: Tensor | None) -> Tensor:
    """Return what a decoder meets: features of pictures, for AdaIN three of four with the statistics of styles."""
    count = len(images) if styles is None else min(len(images), len(styles))
    features, *of_styles = (
        torch.cat([encoder(part) for part in pictures[:count].split(_AT_ONCE)])
        for pictures in (images, styles)
        if pictures is not None
    )
    own = count // 4
    return torch.cat([features[:own], adain(features[own:], of_styles[0][own:])]) if of_styles else features


def _earlier(recipe: RunRecipe, phase: str, spec: VGGSpec) -> Part | None:
    """Return what a phase goes on from: the weights of its own level, or of a shallower one to grow from."""
    init = recipe.phase(phase).init
    if not init:
        return None
    part, _ = load_part(init, phase)
    check_spec(part, spec, init)
    return part


def _is_whole(earlier: Part | None, spec: VGGSpec) -> bool:
    """Whether an earlier run has all layers, so that nothing need be chosen that it would replace."""
    return (
        earlier is not None
        and (earlier.encoder if isinstance(earlier, EmbeddedEncoder) else earlier).spec.level == spec.level
    )


def _grown(network: Network, earlier: nn.Module | None) -> Network:
    """Give a network the layers of an earlier one, which has the same names as far as it goes.

    A deeper pair is its shallower neighbor with a few more layers in the middle; on a short training it is far better
    to begin with what that neighbor has learned. The paper trains the levels independently.
    """
    if earlier is not None:
        device = next(network.parameters()).device
        load_tensors(network, network.state_dict() | earlier.to(device).state_dict(), "the earlier pair")
    return network
