"""What each phase starts from: weights of an earlier run, filters of the teacher, or random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from styleplugin.importers.collaborative_distillation import EmbeddedEncoder
from styleplugin.models.layers import Conv3x3
from styleplugin.models.vgg import TEACHER_WIDTHS, CONVS, Decoder, Encoder, VGGSpec, convs_of_level
from styleplugin.train.config import Recipe
from styleplugin.train.data import step_generator
from styleplugin.train.parts import check_spec, load_part
from styleplugin.train.prune import (
    fit_embedding,
    prune_decoder,
    prune_encoder,
    reinitialize,
    revive,
    selection_embedding,
)
from styleplugin.train.teachers import Judge


def teacher_decoder_spec(recipe: Recipe, judge: Judge) -> VGGSpec:
    """Return the mirrored teacher, or the recipe's narrower one with the judge's features at its entrance."""
    known = {conv: len(judge.layers[f"conv{conv}.bias"]) for conv in CONVS if f"conv{conv}.bias" in judge.layers}
    convs = convs_of_level(recipe.level)
    widths = recipe.teacher_widths or [known.get(conv, TEACHER_WIDTHS[CONVS.index(conv)]) for conv in convs]
    return VGGSpec(
        level=recipe.level, widths=(*widths[: len(convs) - 1], judge.widths[-1]), final_relu=recipe.method == "wct"
    )


def start_teacher_decoder(recipe: Recipe, judge: Judge) -> Decoder:
    """Draw a decoder whose first pictures are gray, so that no pixel starts behind the last ReLU."""
    spec = teacher_decoder_spec(recipe, judge)
    if init := recipe.teacher_decoder.init:
        part, _ = load_part(init, "teacher_decoder")
        check_spec(part, spec, init)
        assert isinstance(part, Decoder)
        return part
    decoder = Decoder(spec)
    reinitialize(decoder, step_generator(recipe.seed, "start teacher_decoder", 0))
    last = decoder.layers()[-1]
    assert isinstance(last, Conv3x3)
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.get_parameter("bias").fill_(0.5)
    return decoder


def start_student_encoder(recipe: Recipe, judge: Judge, images: Tensor) -> EmbeddedEncoder:
    """Prune the teacher, or take the encoder of an earlier run; the embeddings follow from the keep lists.

    Args:
        recipe: The run.
        judge: On the CPU.
        images: (N, 3, H, W) in [0, 1] on the CPU; dead channels are woken up on them, and embeddings that cannot
            follow from keep lists are fitted.
    """
    spec = recipe.student
    if init := recipe.student_encoder.init:
        part, _ = load_part(init, "student_encoder")
        check_spec(part, spec, init)
        if isinstance(part, EmbeddedEncoder):
            return part
        assert isinstance(part, Encoder)
        encoder, keeps = part, {}
    else:
        generator = step_generator(recipe.seed, "start student_encoder", 0)
        encoder, keeps = prune_encoder(judge.layers, spec, recipe.importance, generator)
        revive(encoder, images)
    embeddings = []
    with torch.no_grad():
        students, teachers = encoder.features(images), judge.features(images)
    for k, (student, teacher) in enumerate(zip(students, teachers, strict=True), 1):
        keep = keeps.get(f"{k}_1")
        if keep is None:
            embeddings.append(fit_embedding(student, teacher))
        else:
            embeddings.append(selection_embedding(keep, student.shape[1], teacher.shape[1]))
    return EmbeddedEncoder(encoder, embeddings)


def start_student_decoder(
    recipe: Recipe, encoder: EmbeddedEncoder, teacher_decoder: Callable[[], Decoder], images: Tensor
) -> Decoder:
    """Prune the teacher decoder behind the encoder's embedding, or take the decoder of an earlier run."""
    spec = recipe.student
    if init := recipe.student_decoder.init:
        part, _ = load_part(init, "student_decoder")
        check_spec(part, spec, init)
        assert isinstance(part, Decoder)
        return part
    with torch.no_grad():
        features = encoder.encoder(images)
    embedding = encoder.embeddings[-1]
    assert isinstance(embedding, nn.Conv2d)
    decoder = prune_decoder(teacher_decoder(), embedding, spec, recipe.importance, features)
    revive(decoder, features)
    return decoder
