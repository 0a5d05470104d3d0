"""What each phase starts from: weights of an earlier run, filters of the teacher, or random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from styleplugin.importers.collaborative_distillation import EmbeddedEncoder
from styleplugin.models.vgg import CONVS, TEACHER_WIDTHS, Decoder, Encoder, VGGSpec, convs_of_level
from styleplugin.train.config import Recipe
from styleplugin.train.data import step_generator
from styleplugin.train.parts import check_spec, load_part
from styleplugin.train.prune import draw_decoder, fit_embedding, prune_decoder, prune_encoder, selection_embedding
from styleplugin.train.teachers import Judge


def teacher_decoder_spec(recipe: Recipe, judge: Judge) -> VGGSpec:
    """Return the mirrored teacher, or the recipe's narrower one with the judge's features at its entrance."""
    known = {conv: len(judge.layers[f"conv{conv}.bias"]) for conv in CONVS if f"conv{conv}.bias" in judge.layers}
    convs = convs_of_level(recipe.level)
    widths = recipe.teacher_widths or [known.get(conv, TEACHER_WIDTHS[CONVS.index(conv)]) for conv in convs]
    return VGGSpec(
        level=recipe.level, widths=(*widths[: len(convs) - 1], judge.widths[-1]), final_relu=recipe.method == "wct"
    )


@torch.no_grad()
def start_teacher_decoder(recipe: Recipe, judge: Judge, images: Tensor) -> Decoder:
    """Draw a full-width decoder, or take that of an earlier run.

    Args:
        recipe: The run.
        judge: On the device of the images.
        images: (N, 3, H, W) in [0, 1]; statistics are measured on them, here and below.
    """
    spec = teacher_decoder_spec(recipe, judge)
    if init := recipe.teacher_decoder.init:
        part, _ = load_part(init, "teacher_decoder")
        check_spec(part, spec, init)
        assert isinstance(part, Decoder)
        return part
    return draw_decoder(spec, judge(images), step_generator(recipe.seed, "start teacher_decoder", 0))


@torch.no_grad()
def start_student_encoder(recipe: Recipe, judge: Judge, images: Tensor) -> EmbeddedEncoder:
    """Prune the teacher, or take the encoder of an earlier run.

    The embeddings follow from the keep lists; those that cannot are fitted.
    """
    spec = recipe.student
    keeps = {}
    if init := recipe.student_encoder.init:
        encoder, _ = load_part(init, "student_encoder")
        check_spec(encoder, spec, init)
        if isinstance(encoder, EmbeddedEncoder):
            return encoder
        assert isinstance(encoder, Encoder)
        encoder.to(images.device)
    else:
        generator = step_generator(recipe.seed, "start student_encoder", 0)
        encoder, keeps = prune_encoder(judge.layers, spec, recipe.importance, images, generator)
    features = zip(encoder.features(images), judge.features(images), strict=True)
    embeddings = [
        selection_embedding(keeps[f"{k}_1"], teacher.shape[1]) if f"{k}_1" in keeps else fit_embedding(student, teacher)
        for k, (student, teacher) in enumerate(features, 1)
    ]
    return EmbeddedEncoder(encoder, embeddings)


@torch.no_grad()
def start_student_decoder(
    recipe: Recipe, encoder: EmbeddedEncoder, teacher_decoder: Callable[[], Decoder], images: Tensor
) -> Decoder:
    """Prune the full-width decoder behind the encoder's embedding, or take the decoder of an earlier run."""
    spec = recipe.student
    if init := recipe.student_decoder.init:
        part, _ = load_part(init, "student_decoder")
        check_spec(part, spec, init)
        assert isinstance(part, Decoder)
        return part
    encoder.to(images.device)
    embedding = encoder.embeddings[-1]
    assert isinstance(embedding, nn.Conv2d)
    teacher = teacher_decoder().to(images.device)
    return prune_decoder(teacher, embedding, spec, recipe.importance, encoder.encoder(images))
