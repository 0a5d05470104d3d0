import itertools

import pytest
import torch
from torch import nn

from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.networks.autoencoders import (
    WEIGHTS,
    Autoencoder,
    StudentDecoderAutoencoder,
    StudentEncoderAutoencoder,
    StudentPairAutoencoder,
    TeacherDecoderAutoencoder,
)
from styleplugin.train.networks.teachers import LossNetwork
from styleplugin.train.pairs.tasks import ReconstructionTask, StylizationTask
from styleplugin.train.pruning.filters import draw_decoder, prune_encoder

WIDE, NARROW = VGGSpec(level=2, widths=(6, 6, 8)), VGGSpec(level=2, widths=(4, 4, 4))
LOSSES = dict.fromkeys(WEIGHTS, 0.0) | {
    "pixel": 1.0,
    "perceptual": 1.0,
    "embedding": 10.0,
    "content": 1.0,
    "style": 10.0,
}
PHASES = ("teacher_decoder", "student_encoder", "student_decoder")


def pictures(seed: int) -> torch.Tensor:
    small = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return small.repeat_interleave(8, 2).repeat_interleave(8, 3)


def draw_encoder(spec: VGGSpec) -> Encoder:
    return prune_encoder({}, spec, "l1", pictures(0), step_generator(0, "encoder", spec.features))[0]


def make_judge() -> LossNetwork:
    return LossNetwork(draw_encoder(WIDE), layers={}, sources={})


def make_coder(phase: str, loss_network: LossNetwork) -> Autoencoder:
    generator = step_generator(0, "decoder", 0)
    wide = draw_decoder(WIDE, loss_network(pictures(0)), generator)
    if phase == "teacher_decoder":
        return TeacherDecoderAutoencoder(wide)
    encoder = draw_encoder(NARROW)
    if phase in ("student_encoder", "student_pair"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            embedded = EmbeddedEncoder(encoder, [nn.Conv2d(4, 6, 1), nn.Conv2d(4, 8, 1)])
        if phase == "student_encoder":
            return StudentEncoderAutoencoder(embedded, wide)
        return StudentPairAutoencoder(embedded, draw_decoder(NARROW, encoder(pictures(0)), generator))
    return StudentDecoderAutoencoder(encoder, draw_decoder(NARROW, encoder(pictures(0)), generator))


CASES = list(itertools.product(PHASES, (ReconstructionTask, StylizationTask)))


@pytest.mark.parametrize(("phase", "kind"), CASES)
def test_only_the_trained_part_learns(phase: str, kind: type):
    loss_network = make_judge()
    task = kind(loss_network, make_coder(phase, loss_network), LOSSES)
    task(*(pictures(seed) for seed in range(1 + kind.needs_style)))["loss"].backward()
    trained = {id(parameter) for parameter in task.autoencoder.trained.parameters()}
    for name, parameter in task.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trained), name


@pytest.mark.parametrize(("phase", "kind"), CASES)
def test_a_few_steps_lower_the_loss(phase: str, kind: type):
    loss_network = make_judge()
    task = kind(loss_network, make_coder(phase, loss_network), LOSSES)
    optimizer = torch.optim.Adam(task.autoencoder.trained.parameters(), lr=3e-3)
    batch = [pictures(seed) for seed in range(1 + kind.needs_style)]
    losses = []
    for _ in range(30):
        loss = task(*batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_loss_is_the_weighted_sum_of_its_parts():
    loss_network = make_judge()
    losses = ReconstructionTask(loss_network, make_coder("student_encoder", loss_network), LOSSES)(pictures(0))
    assert set(losses) == {"loss", "pixel", "perceptual", "embedding"}
    expected = losses["pixel"] + losses["perceptual"] + 10 * losses["embedding"]
    torch.testing.assert_close(losses["loss"], expected)


def test_the_embedding_loss_can_look_at_a_part_of_the_batch():
    loss_network, images = make_judge(), pictures(0)
    autoencoder = make_coder("student_pair", loss_network)
    weights = LOSSES | {"perceptual": 0.0}
    half = ReconstructionTask(loss_network, autoencoder, weights, judged=0.5)(images)
    whole, first = (ReconstructionTask(loss_network, autoencoder, weights)(part) for part in (images, images[:2]))
    torch.testing.assert_close(half["embedding"], first["embedding"])
    torch.testing.assert_close(half["pixel"], whole["pixel"])


def test_a_perfect_coder_has_no_reconstruction_loss():
    class Mirror(Autoencoder):
        def encode(self, image, judged):
            return image, None

        def decode(self, features):
            return features

    losses = ReconstructionTask(make_judge(), Mirror(), LOSSES)(pictures(0))
    assert losses["loss"].item() == 0


def test_without_reconstruction_weights_stylization_has_the_losses_of_the_paper():
    loss_network = make_judge()
    weights = LOSSES | {"pixel": 0.0, "perceptual": 0.0}
    task = StylizationTask(loss_network, make_coder("teacher_decoder", loss_network), weights)
    assert set(task(pictures(0), pictures(1))) == {"loss", "content", "style"}


def test_the_last_relu_is_left_out_in_training_only():
    decoder = Decoder(NARROW)
    assert decoder.layers()[-1].relu
    StudentDecoderAutoencoder(draw_encoder(NARROW), decoder)
    assert not decoder.layers()[-1].relu
    assert decoder.spec.final_relu
